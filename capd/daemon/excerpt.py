"""The history from around a loss as it is kept on disk: a row for each tenth of a second.

Pure.  A row has what was seen, and nothing of what was not: a key that is missing is unknown.
`at` is in ns since 1970; shares are of the time between two rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from capd.daemon import softnet
from capd.daemon.gauge import Span
from capd.daemon.history import Process, Tick

Row = dict[str, Any]


def rows(ticks: Sequence[Tick], spans: Sequence[Span], ring: str, interface: str) -> list[Row]:
    """From the machine's ticks and a worker's samples of the same time."""
    found, ahead = [], deque(spans)
    softnets = [softnet.sums(tick.machine["softnet"]) for tick in ticks]
    for (before, after), (then, now) in zip(pairwise(ticks), pairwise(softnets), strict=True):
        row: Row = {"at": after.at}
        names = ("backlog_processed", "backlog_dropped", "backlog_squeezed")
        row |= {name: max(0, b - a) for name, a, b in zip(names, then, now, strict=True)}
        row |= _pressures(before, after) | _nic(before, after, interface)
        if ring in before.workers and ring in after.workers:
            length = after.at - before.at
            row |= _process(before.workers[ring], after.workers[ring], length)
        within = []
        while ahead and ahead[0].sample.at <= after.at:
            span = ahead.popleft()
            within += [span] if span.sample.at > before.at else []
        row |= _worker(within)
        found.append(row)
    return found


def _pressures(before: Tick, after: Tick) -> Row:
    row: Row = {}
    for name in ("cpu", "io"):
        first, last = (tick.stalled(name) for tick in (before, after))
        if first is not None and last is not None:
            row[f"{name}_pressure"] = _share(last - first, after.at - before.at)
    return row


def _nic(before: Tick, after: Tick, interface: str) -> Row:
    if before.nics is after.nics:  # nobody has looked between them
        return {}
    then, now = (tick.nics.get(interface, (None, None)) for tick in (before, after))
    names = ("nic_packets", "nic_missed")
    return {
        name: max(0, last - first)
        for name, first, last in zip(names, then, now, strict=True)
        if first is not None and last is not None
    }


def _process(before: Process, after: Process, length: int) -> Row:
    if not after.state or after.times[0] < before.times[0]:
        return {}
    (ran, waited), (ran_before, waited_before) = after.times, before.times
    return {
        "worker": after.state,
        "ran": _share(ran - ran_before, length),
        "waited": _share(waited - waited_before, length),
    }


def _worker(spans: Sequence[Span]) -> Row:
    """What the worker's samples of this row say together."""
    if not spans:
        return {}
    first, last = spans[0].before, spans[-1].sample
    samples = [span.sample for span in spans]
    return {
        "waiting": max(one.waiting for one in samples),
        "written": last.written - first.written,
        "lost_ring": last.dropped - first.dropped,
        "lost_disk": last.disk - first.disk,
        "writes": sum(one.writes for one in samples),
        "slowest_ms": round(max(one.slowest for one in samples) / 1e6, 3),
        "writing": _share(sum(one.writing for one in samples), sum(span.length for span in spans)),
        "refused": any(one.refused for one in samples),
    }


def _share(part: int, whole: int) -> float:
    return round(min(1.0, max(0, part) / max(1, whole)), 3)
