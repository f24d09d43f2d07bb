"""What is left in a segment that nobody closed: it is read here, and nothing is changed.

`examine` finds the whole blocks and what stands between and behind them; `salvage` decides what
becomes of that.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from capd import pcapng
from capd.archive.nothing import is_blank, is_torn_head
from capd.archive.pieces import AHEAD, Pieces
from capd.archive.resync import Resync
from capd.errors import StorageError
from capd.pcapng import Statistics
from capd.survey import SHORT, UNKNOWN_LINK, UNTOLD, Survey, survey

MOST_STRETCHES = 1000  # more are not what a disk or a power cut leaves
_NEVER = 2**64 - 1
_MOST_TRAILING = 8  # blocks of padding at the end that are looked behind for the last real one


class Stretch(NamedTuple):
    """Bytes between whole blocks that are none."""

    start: int
    end: int


class Remains(NamedTuple):
    """What was found."""

    headed: bool  # whether it begins as a segment; nothing but `empty` is known if not
    empty: bool  # whether there certainly is no packet in it, and no loss told of
    size: int
    end: int  # of the last whole block that is not padding
    clean: bool  # whether nothing but padding is behind that
    stretches: tuple[Stretch, ...]
    packets: int
    first: int  # smallest and largest stamp, ns since 1970
    last: int
    lost: int  # packets the statistics tell of
    statistics: Statistics | None  # the last of them, if they tell of losses or are the last block
    closed: bool  # whether these are the last block


_UNKNOWN = Remains(
    headed=False,
    empty=False,
    size=0,
    end=0,
    clean=False,
    stretches=(),
    packets=0,
    first=0,
    last=0,
    lost=0,
    statistics=None,
    closed=False,
)


def examine(fd: int, size: int) -> Remains:
    """Read a file of this size.  StorageError if there are too many stretches to make sense of."""
    pieces = Pieces(fd, size)
    walk = _Walk(pieces)
    walk.run()
    pieces.drop()
    if walk.link_type == UNKNOWN_LINK:
        return _UNKNOWN._replace(empty=is_torn_head(pieces), size=size)
    end, closing = _last_block(pieces, walk.end)
    statistics = closing or walk.last_statistics()
    first, last = walk.first, walk.last
    if not walk.packets and statistics is not None:
        first = last = statistics.now
    return Remains(
        headed=True,
        empty=not walk.packets and is_blank(pieces, walk.head),
        size=size,
        end=end,
        clean=walk.end == size,
        stretches=tuple(walk.stretches),
        packets=walk.packets,
        first=first,
        last=last,
        lost=walk.lost,
        statistics=statistics,
        closed=closing is not None,
    )


class _Walk:
    """From whole block to whole block, over whatever is between."""

    def __init__(self, pieces: Pieces) -> None:
        self.link_type = UNKNOWN_LINK
        self.head = 0  # bytes
        self.end = 0
        self.packets = self.lost = self.last = 0
        self.first = _NEVER
        self.stretches: list[Stretch] = []
        self._pieces = pieces
        self._recent: int | None = None
        self._told = Stretch(0, 0)  # where statistics told of a loss last

    def run(self) -> None:
        """To the end of the last whole block; nowhere if there is no head."""
        pieces = self._pieces
        head = self._survey(pieces.reach(0), 1)
        self.link_type, self.head, self.end = head.link_type, head.end, head.end
        while self.link_type != UNKNOWN_LINK and self.end < pieces.size:
            index = pieces.reach(self.end)
            found = self._survey(index, len(pieces.content))
            self._add(found, index)
            at_edge = len(pieces.content) - found.end < AHEAD
            if found.fault == SHORT and at_edge and pieces.base + len(pieces.content) < pieces.size:
                continue
            if found.fault and not self._go_on():
                return

    def last_statistics(self) -> Statistics | None:
        """The last that told of a loss."""
        found = None
        at = self._told.start
        while self.lost and at < self._told.end:
            index = self._pieces.reach(at)
            kind, length = struct.unpack_from("=II", self._pieces.content, index)
            if kind == pcapng.INTERFACE_STATISTICS:
                found = pcapng.read_statistics(self._pieces.content[index : index + length])
            at += length
        return found

    def _survey(self, index: int, limit: int) -> Survey:
        content = self._pieces.content
        return survey(content, index, min(limit, len(content)), self.link_type)

    def _add(self, found: Survey, index: int) -> None:
        start, self.end = self.end, self.end + found.end - index
        if found.packets:
            self.packets += found.packets
            self.first, self.last = min(self.first, found.first), max(self.last, found.last)
            self._recent = found.last
        if found.lost != UNTOLD:
            self.lost, self._told = found.lost, Stretch(start, self.end)

    def _go_on(self) -> bool:
        behind = Resync(self._pieces, self.link_type).after(self.end, self._recent)
        if behind is None:
            return False
        if len(self.stretches) == MOST_STRETCHES:
            raise StorageError("it is damaged in too many places")
        self.stretches.append(Stretch(self.end, behind))
        self.end = behind
        return True


def _last_block(pieces: Pieces, end: int) -> tuple[int, Statistics | None]:
    """The end of the last block that is not padding, and what it says if it is statistics."""
    at = end
    for _ in range(_MOST_TRAILING):
        length = pieces.word(at - 4)
        index = pieces.reach(at - length)
        kind = pieces.word(at - length)
        if kind == pcapng.INTERFACE_STATISTICS:
            return at, pcapng.read_statistics(pieces.content[index : index + length])
        if kind != pcapng.PADDING:
            return at, None
        at -= length
    return end, None
