"""Where whole blocks go on behind a stretch that is none.

A packet may itself carry pcapng, so not everything that looks like a block is one: what is left
of the lengths of the block that is broken comes before a search.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from capd import pcapng
from capd.archive.pieces import Pieces
from capd.survey import survey
from capd.units import SECOND

YEAR = 366 * 24 * 3600 * SECOND
NEAR = 60 * SECOND
LONGEST = pcapng.SNAPLEN + 64  # bytes of the longest packet's block
_PACKET_HEAD = struct.Struct("=IIIIIII")
_OPTIONS = (0, 12)  # bytes of them in a packet's block
_STAMP = struct.Struct("=II")
_STAMP_AT = 12  # in packets and statistics alike
_PACKET = struct.pack("=I", pcapng.ENHANCED_PACKET)
_STATISTICS = struct.pack("=I", pcapng.INTERFACE_STATISTICS)


class Resync:
    """The search in one file whose packets have this link type."""

    def __init__(self, pieces: Pieces, link_type: int) -> None:
        self._pieces = pieces
        self._link_type = link_type

    def after(self, broken: int, stamp: int | None) -> int | None:
        """The next whole block behind what begins at `broken`; None if there is none.

        `stamp`: of a packet shortly before.
        """
        end = broken
        while length := self._framed(end) or self._claimed(end):
            end += length
            if end >= self._pieces.size:  # all the rest is this block
                return None
            if self._credible(end, stamp):
                return end
        return self._search(broken, stamp)

    def _search(self, broken: int, stamp: int | None) -> int | None:
        first = None
        for at in self._candidates(broken + pcapng.LEAST_BLOCK):
            if first is not None and at - broken > LONGEST:
                break
            # What is broken ends here if its second length says so.
            ends = at - broken <= LONGEST and self._pieces.word(at - 4) == at - broken
            if (ends or first is None) and self._credible(at, stamp):
                if ends:
                    return at
                first = at
        return first

    def _candidates(self, start: int) -> Iterator[int]:
        """Where a packet or statistics may begin."""
        pieces = self._pieces
        at, packet = start, -1
        while True:
            if packet < at:
                packet = pieces.find(_PACKET, at, pieces.size)
            at = pieces.find(_STATISTICS, at, packet)
            if at == pieces.size:
                return
            yield at
            at += 4

    def _credible(self, at: int, stamp: int | None) -> bool:
        length = self._whole(at)
        if not length:
            return False
        own, behind = self._stamp(at), at + length
        if stamp is not None and abs(own - stamp) <= NEAR:
            return True
        ends = behind == self._pieces.size or behind + self._claimed(behind) > self._pieces.size
        if not ends and not self._whole(behind):
            return False
        if stamp is None or abs(own - stamp) <= YEAR:
            return True
        return self._whole(behind) > 0 and abs(own - self._stamp(behind)) <= YEAR

    def _stamp(self, at: int) -> int:
        high, low = _STAMP.unpack_from(self._pieces.content, self._pieces.reach(at) + _STAMP_AT)
        return int(high) << 32 | int(low)

    def _whole(self, at: int) -> int:
        """The length of the whole packet or statistics at an offset; 0 if there is neither."""
        pieces = self._pieces
        if pieces.size - at < pcapng.LEAST_BLOCK:
            return 0
        index = pieces.reach(at)
        kind, length = struct.unpack_from("=II", pieces.content, index)
        known = kind in {pcapng.ENHANCED_PACKET, pcapng.INTERFACE_STATISTICS}
        if not known or not 20 < length <= LONGEST:
            return 0
        if length > pieces.size - at:
            return 0
        found = survey(pieces.content, index, index + length, self._link_type)
        return length if not found.fault else 0

    def _framed(self, at: int) -> int:
        """The length that something says both in front and behind; 0 if the two differ."""
        pieces = self._pieces
        if pieces.size - at < pcapng.LEAST_BLOCK:
            return 0
        length = pieces.word(at + 4)
        if length % 4 or not pcapng.LEAST_BLOCK <= length <= min(LONGEST, pieces.size - at):
            return 0
        return length if pieces.word(at + length - 4) == length else 0

    def _claimed(self, at: int) -> int:
        """The length that a packet's head here makes sense of; 0 if there is no such head."""
        pieces = self._pieces
        if pieces.size - at < _PACKET_HEAD.size:
            return 0
        head: tuple[int, ...] = _PACKET_HEAD.unpack_from(pieces.content, pieces.reach(at))
        kind, length, interface, _, _, captured, original = head
        if kind != pcapng.ENHANCED_PACKET or interface or captured > min(original, pcapng.SNAPLEN):
            return 0
        options = length - (_PACKET_HEAD.size + captured + -captured % 4 + 4)
        return length if options in _OPTIONS else 0
