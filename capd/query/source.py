"""A segment that is held open, and what is known of one without an index."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from capd.catalog import Segment
from capd.index import Totals
from capd.names import COMPRESSED_SUFFIX
from capd.survey import BAD, survey

_HEAD = 65536  # bytes in which a packet is, if there are any

Number = tuple[str, int]
"""A ring, and the number of a segment: in one directory that is one file, but not in two."""

Key = tuple[str, int, int]
"""Ring, number and stamp (0: it is being written): what a segment keeps under all its names."""


@dataclass(frozen=True)
class Source:
    """A segment, open for reading."""

    ring: str
    seq: int
    stamp: int  # that its name tells; 0: it has none yet
    path: str  # under which it was found
    data: BinaryIO
    index: BinaryIO | None
    compressed: bool
    is_open: bool  # a worker writes it, or left it behind
    first: int  # smallest stamp (without an index: the first), ns since 1970; 0: not known
    size: int  # bytes in the file when it was opened
    found_at: int = 0  # ns since 1970: there were packets in it by then, if it is open

    @property
    def is_deleted(self) -> bool:
        """Whether it has no name any more."""
        return os.fstat(self.data.fileno()).st_nlink == 0

    @property
    def key(self) -> Key:
        """Which one it is."""
        return self.ring, self.seq, self.stamp


class Written(NamedTuple):
    """One that was held while it was written."""

    device: int
    inode: int
    first: int  # stamp of one of its packets; 0: none is known

    def became(self, segment: Segment, status: os.stat_result, totals: Totals | None) -> bool:
        """Whether it is this segment of its number by now, and not one that was there before."""
        if (status.st_dev, status.st_ino) == (self.device, self.inode):
            return True
        if totals is not None and self.first:
            return totals.first <= self.first <= totals.last
        # It would be another file only if it had been compressed, or moved.
        return totals is not None or segment.suffix == COMPRESSED_SUFFIX


def first_stamp(fd: int) -> int | None:
    """That of its first packet; 0: not known; None: there is none."""
    try:
        content = os.pread(fd, _HEAD, 0)
    except OSError:  # whoever searches it tells of that
        return 0
    found = survey(content, 0, len(content))
    if found.packets:
        return found.first
    return None if found.fault != BAD and len(content) < _HEAD else 0
