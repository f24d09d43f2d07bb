"""The grammar of file names below the capture directory; the name is the state.

    <ring>/<seq>.pcapng.part                                    a worker writes it
    <ring>/<seq>.pcapng.damaged                                 left by a run that was cut off, and
                                                                not understood: set aside
    <ring>/<YYYY-MM-DD>/<ring>_<UTC stamp>_<seq>.pcapng         finished
    <ring>/<YYYY-MM-DD>/<ring>_<UTC stamp>_<seq>.pcapng.suspect whole, but the disk refused to
                                                                confirm it: never trusted silently
    <ring>/<YYYY-MM-DD>/<ring>_<UTC stamp>_<seq>.pcapng.zst     finished and compressed
    capd-loss-ledger/                                           no ring's: see `ledger`
    capd-held-ranges/                                           no ring's: see `hold_folder`
    capd-handed-over.json                                       a file: see `daemon.handed`

Beside each of the last three: `<its name>.idx`, its index, and for as long as something is
being made from it `<name to be>.part`.

A ring is an interface's name, with `:N` behind it for its N-th ring (ring 0 goes unsaid;
the kernel allows no colon in an interface's name).  The stamp is the smallest one inside,
in UTC with nanoseconds; `seq` grows for ever within a ring, so that it orders segments
whatever the clock did.  This module knows names only; it touches no file.
"""

from __future__ import annotations

import functools
import re
import time
from typing import NamedTuple

TEMPORARY_SUFFIX = ".part"
PART_SUFFIX = ".pcapng.part"
DAMAGED_SUFFIX = ".pcapng.damaged"
SEGMENT_SUFFIX = ".pcapng"
SUSPECT_SUFFIX = ".pcapng.suspect"
COMPRESSED_SUFFIX = ".pcapng.zst"
INDEX_SUFFIX = ".idx"
DATA_SUFFIXES = (SEGMENT_SUFFIX, SUSPECT_SUFFIX, COMPRESSED_SUFFIX)
LEDGER_FOLDER = "capd-loss-ledger"  # 16 bytes: no interface has so long a name (IFNAMSIZ)
HOLD_FOLDER = "capd-held-ranges"  # the same
NO_RINGS = {LEDGER_FOLDER, HOLD_FOLDER}  # beside those of the rings
LOST_AND_FOUND = "lost+found"  # of a file system, and root's alone: there is no segment in it
HANDED_FILE = "capd-handed-over.json"  # longer than that

_SEQ = r"[0-9]{10}|[1-9][0-9]{10,18}"  # one spelling for one number
_PART = re.compile(rf"({_SEQ})\.pcapng\.part")
_DAMAGED = re.compile(rf"({_SEQ})\.pcapng\.damaged")
_SEGMENT = re.compile(
    r"([^/]+)_([0-9]{8}T[0-9]{6})\.([0-9]{9})Z"
    rf"_({_SEQ})(\.pcapng(?:\.suspect|\.zst)?)"
)
_FOLDER = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class SegmentName(NamedTuple):
    """One finished segment: its ring, the smallest stamp inside (ns since 1970) and its number."""

    ring: str
    stamp: int
    seq: int
    suffix: str = SEGMENT_SUFFIX

    @property
    def file(self) -> str:
        """The file's name, without its folder."""
        seconds, nanoseconds = divmod(self.stamp, 1_000_000_000)
        moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        return f"{self.ring}_{moment}.{nanoseconds:09d}Z_{self.seq:010d}{self.suffix}"

    @property
    def index_file(self) -> str:
        """The name of its index, in the same folder."""
        return f"{self.file}{INDEX_SUFFIX}"

    @property
    def folder(self) -> str:
        """The dated folder that holds it, below the ring's."""
        return time.strftime("%Y-%m-%d", time.gmtime(self.stamp // 1_000_000_000))


def ring_name(interface: str, number: int = 0) -> str:
    """The name of an interface's ring: its folder, and the first part of its file names."""
    return f"{interface}:{number}" if number else interface


def interface_of(ring: str) -> str:
    """The interface that a ring is of."""
    return ring.partition(":")[0]


def part_name(seq: int) -> str:
    """The name of segment `seq` while it is written."""
    return f"{seq:010d}{PART_SUFFIX}"


def damaged_name(seq: int) -> str:
    """The name under which what was left of segment `seq` is set aside."""
    return f"{seq:010d}{DAMAGED_SUFFIX}"


def parse_part(name: str) -> int | None:
    """The number in a `.part` file's name; None if the name is not one of capd's."""
    match = _PART.fullmatch(name)
    return int(match[1]) if match else None


def parse_damaged(name: str) -> int | None:
    """The number of a segment that was set aside; None if the name is not of one."""
    match = _DAMAGED.fullmatch(name)
    return int(match[1]) if match else None


def parse_segment(name: str) -> SegmentName | None:
    """What a finished segment's name says; None if the name is not one of capd's."""
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return None
    ring, moment, nanoseconds, seq, suffix = match.groups()
    seconds = _seconds(moment)
    if seconds is None:
        return None
    stamp = seconds * 1_000_000_000 + int(nanoseconds)
    # No packet has another one, and some would come out spelled otherwise.
    return SegmentName(ring, stamp, int(seq), suffix) if 0 <= stamp < 2**64 else None


def parse_index(name: str) -> SegmentName | None:
    """The segment that an index belongs to; None if the name is not of an index of capd's."""
    whole = name.removesuffix(INDEX_SUFFIX)
    return parse_segment(whole) if whole != name else None


def parse_temporary(name: str) -> SegmentName | None:
    """The segment from which a file in a dated folder is being made; None if none is."""
    whole = name.removesuffix(TEMPORARY_SUFFIX)
    return (parse_segment(whole) or parse_index(whole)) if whole != name else None


def is_folder(name: str) -> bool:
    """Whether a name is that of a dated folder."""
    return _FOLDER.fullmatch(name) is not None


def suffixes_by_stem(listing: list[str]) -> dict[str, tuple[str, ...]]:
    """What is in a folder: suffixes, by what comes before them."""
    groups: dict[str, list[str]] = {}
    for name in listing:
        stem, dot, rest = name.rpartition(SEGMENT_SUFFIX)
        if dot and rest in _SUFFIXES:
            groups.setdefault(stem, []).append(_SUFFIXES[rest])
    return {stem: shared(tuple(sorted(found))) for stem, found in groups.items()}


@functools.cache
def shared(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """The same object for all: a hundred thousand segments are to stay small."""
    return suffixes


def _seconds(moment: str) -> int | None:
    """Since 1970, of `yyyymmddThhmmss` in UTC; None if there is no such moment."""
    from datetime import UTC, datetime  # noqa: PLC0415  a worker starts without it

    year, month, day = int(moment[:4]), int(moment[4:6]), int(moment[6:8])
    hour, minute, second = int(moment[9:11]), int(moment[11:13]), int(moment[13:])
    try:
        when = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return int(when.timestamp())


# By what follows the first of them.
_SUFFIXES = {
    (data + rest).removeprefix(SEGMENT_SUFFIX): data + rest
    for data in DATA_SUFFIXES
    for rest in ("", INDEX_SUFFIX, TEMPORARY_SUFFIX, INDEX_SUFFIX + TEMPORARY_SUFFIX)
}
