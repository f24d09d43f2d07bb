"""The grammar of file names below the capture directory; the name is the state.

    <ring>/<seq>.pcapng.part                                    a worker writes it
    <ring>/<YYYY-MM-DD>/<ring>_<UTC stamp>_<seq>.pcapng         finished
    <ring>/<YYYY-MM-DD>/<ring>_<UTC stamp>_<seq>.pcapng.suspect whole, but the disk refused to
                                                                confirm it: never trusted silently

A ring is an interface's name, with `:N` behind it for its N-th ring (ring 0 goes unsaid;
the kernel allows no colon in an interface's name).  The stamp is the smallest one inside,
in UTC with nanoseconds; `seq` grows for ever within a ring, so that it orders segments
whatever the clock did.  This module knows names only; it touches no file.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

PART_SUFFIX = ".pcapng.part"
SEGMENT_SUFFIX = ".pcapng"
SUSPECT_SUFFIX = ".pcapng.suspect"

_SEQ = r"[0-9]{10}|[1-9][0-9]{10,18}"  # one spelling for one number
_PART = re.compile(rf"({_SEQ})\.pcapng\.part")
_SEGMENT = re.compile(
    r"(?P<ring>[^/]+)_(?P<date>[0-9]{8})T(?P<time>[0-9]{6})\.(?P<nanoseconds>[0-9]{9})Z"
    rf"_(?P<seq>{_SEQ})(?P<suffix>\.pcapng(?:\.suspect)?)"
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
        moment, nanoseconds = _moment(self.stamp)
        return f"{self.ring}_{moment:%Y%m%dT%H%M%S}.{nanoseconds:09d}Z_{self.seq:010d}{self.suffix}"

    @property
    def folder(self) -> str:
        """The dated folder that holds it, below the ring's."""
        return f"{_moment(self.stamp)[0]:%Y-%m-%d}"


def ring_name(interface: str, number: int = 0) -> str:
    """The name of an interface's ring: its folder, and the first part of its file names."""
    return f"{interface}:{number}" if number else interface


def part_name(seq: int) -> str:
    """The name of segment `seq` while it is written."""
    return f"{seq:010d}{PART_SUFFIX}"


def parse_part(name: str) -> int | None:
    """The number in a `.part` file's name; None if the name is not one of capd's."""
    match = _PART.fullmatch(name)
    return int(match[1]) if match else None


def parse_segment(name: str) -> SegmentName | None:
    """What a finished segment's name says; None if the name is not one of capd's."""
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return None
    try:
        moment = datetime.strptime(match["date"] + match["time"] + "+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        return None
    stamp = int(moment.timestamp()) * 1_000_000_000 + int(match["nanoseconds"])
    return SegmentName(match["ring"], stamp, int(match["seq"]), match["suffix"])


def is_folder(name: str) -> bool:
    """Whether a name is that of a dated folder."""
    return _FOLDER.fullmatch(name) is not None


def _moment(stamp: int) -> tuple[datetime, int]:
    seconds, nanoseconds = divmod(stamp, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC), nanoseconds
