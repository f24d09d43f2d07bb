"""What becomes of a ring, in words: opened, changed, drained.  It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import BaseModel

from capd.config import Config
from capd.daemon.ringplan import RingPlan
from capd.messages import Counters, Source
from capd.units import format_count, format_duration, format_size


@dataclass
class Applied:
    """What came of putting a config in force."""

    changes: list[str] = field(default_factory=list)  # lines to read
    refused: dict[str, str] = field(default_factory=dict)  # by ring: why it is not as wanted


def opened(wanted: RingPlan) -> str:
    """What a new ring captures, and where to."""
    source = wanted.plan.source
    size = format_size(wanted.plan.geometry.size)
    folder = f"{wanted.plan.directory}/{wanted.name}"
    return f"capturing {filtered(source)} into {folder}, ring of {size}"


def filtered(source: Source) -> str:
    """What a filter lets through."""
    return f"filter {source.filter!r}" if source.filter else "everything"


def differences(before: RingPlan, after: RingPlan) -> Iterator[str]:
    """What is different from one plan to the next, in the words of the config."""
    old, new = settings(before), settings(after)
    for key, value in new.items():
        if old[key] != value:
            yield f"{key} {old[key]} -> {value}"


def settings(wanted: RingPlan) -> dict[str, str]:
    """The settings of a ring that a person can change, by their keys, and its link's."""
    plan, source = wanted.plan, wanted.plan.source
    speed = f"{source.speed / 1e9:g} Gb/s" if source.speed else "unknown"
    return {
        "filter": repr(source.filter) if source.filter else "none",
        "snaplen": format_size(source.snaplen),
        "record_direction": "yes" if source.record_direction else "no",
        "promiscuous": "yes" if wanted.promiscuous else "no",
        "ring_size": format_size(plan.geometry.size),
        "flush_interval": f"{plan.geometry.retire_ms} ms",
        "rotate_size": format_size(plan.rotate_size),
        "rotate_interval": format_duration(plan.rotate_interval),
        "sync_interval": format_duration(plan.sync_interval),
        "directory": plan.directory,
        "require_mount": "yes" if plan.require_mount else "no",
        "cpus": ", ".join(map(str, plan.cpus)) or "any",
        "interface": source.interface,
        "its index": str(wanted.link_index),
        "its kind of packets": str(source.link_type),
        "its speed": speed,
        "host": source.host,
    }


def of_tables(before: Config | None, after: Config) -> Iterator[str]:
    """What is different in the tables that are no ring's, in the words of the config."""
    for table in ("monitor", "alert", "hook", "metrics"):
        old = _told(getattr(before, table)) if before is not None else {}
        for key, value in _told(getattr(after, table)).items():
            if before is not None and old[key] != value:
                yield f"{table}.{key}: {value}; before: {old[key]}"


def _told(table: BaseModel) -> dict[str, str]:
    return {key: _words(key, value) for key, value in table}


def _words(key: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in {"interval", "per", "timeout"} and isinstance(value, int):
        return format_duration(value)
    if isinstance(value, tuple):  # a command: its arguments may be passwords
        return f"{value[0]} and {len(value) - 1} more words"
    return str(value)


def drained(counters: Counters) -> str:
    """Where a ring's packets went, in one line."""
    overlap = f", another ring {format_count(counters.overlap)}" if counters.overlap else ""
    return (
        f"received {format_count(counters.received)}, written {format_count(counters.written)}, "
        f"dropped {format_count(counters.lost)} (ring {format_count(counters.dropped)}, "
        f"disk {format_count(counters.disk)}, malformed {format_count(counters.malformed)})"
        f"{overlap}; {format_size(counters.bytes)} of packets in {counters.files} "
        f"file{'' if counters.files == 1 else 's'}"
    )
