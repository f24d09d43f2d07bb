"""What a directory with segments holds, as its reaper saw it last; nothing here looks at a disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from capd.catalog import RingFiles, Segment
from capd.daemon.retention import Victim, ages
from capd.held import Amount

Key = tuple[str, int, int]  # ring, number, stamp
NONE = Amount()


class Space(NamedTuple):
    """Of a disk, in bytes, when it was looked at last."""

    total: int
    free: int  # for capd to use
    reserve: int  # that is to stay free


@dataclass(frozen=True)
class Outlook:
    """What a directory holds, when it was looked at last."""

    directory: str = ""
    segments: int = 0
    bytes: int = 0
    foreign: Amount = NONE  # of these, not capd's: no rule counts or takes them
    oldest: dict[str, int] = field(default_factory=dict)  # by ring: when its oldest begins, in ns
    room: int = 0  # bytes that segments may take, as the rules and the disk are now
    missing: int = 0  # bytes of the reserve, although there is nothing left to delete
    parts: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by ring: without a final name


class Seen(NamedTuple):
    """One look at all files; nobody changes it afterwards."""

    at: int  # monotonic ns, when it began
    directory: str
    rings: Mapping[str, RingFiles]
    gone: frozenset[Key]  # those that were deleted since
    unclear: frozenset[str] = frozenset()  # rings of which there may be more: it cannot be read


def key_of(segment: Segment) -> Key:
    """What no other segment has."""
    return segment.ring, segment.seq, segment.stamp


def deleted(gone: list[Victim]) -> frozenset[Key]:
    """What a deletion took."""
    return frozenset(key_of(victim.segment) for victim in gone)


def outlook(seen: Seen, now: int) -> Outlook:
    """What is there after a deletion."""
    count = size = 0
    oldest, foreign = {}, NONE
    for ring, files in seen.rings.items():
        left = [one for one in files.segments if key_of(one) not in seen.gone]
        size += sum(part.size for part in files.parts) + sum(segment.size for segment in left)
        count += len(left)
        theirs = [one.size for one in left if not one.own]
        foreign = Amount(foreign.segments + len(theirs), foreign.bytes + sum(theirs))
        if left:
            oldest[ring] = ages(left, now)[0]
    parts = {ring: tuple(part.seq for part in files.parts) for ring, files in seen.rings.items()}
    return Outlook(seen.directory, count, size, foreign, oldest, parts=parts)
