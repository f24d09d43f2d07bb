"""What goes with a segment that is handed over: the facts for the command, and whose they are."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from capd.daemon.handover import Key, Task
from capd.segment_files import size, totals
from capd.units import format_time


def key_of(facts: dict[str, Any]) -> Key | None:
    """Whose facts these are."""
    with suppress(KeyError, ValueError, TypeError):
        return str(facts["ring"]), int(facts["number"])
    return None


def facts_of(task: Task) -> dict[str, str] | None:
    """What the command is told of a segment; None if it is not there."""
    segment = task.segment
    path = f"{task.directory}/{segment.path}"
    data = size(path)
    if data is None:
        return None
    facts = {
        "path": path,
        "ring": segment.ring,
        "interface": segment.ring.partition(":")[0],
        "number": str(segment.seq),
        "size": str(data),
        "first": format_time(segment.stamp),
    }
    found = totals(task.directory, segment)
    if found is None:
        return facts
    last = found.last if found.packets else max(segment.stamp, found.closed)
    return facts | {"last": format_time(last), "packets": str(found.packets)}
