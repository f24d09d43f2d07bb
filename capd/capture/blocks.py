"""The mapped ring, block by block, in the order in which the kernel fills it.

It owns the mapping and the place in the ring, not the socket.  A block's number
(`seq_num`) starts at 1 and grows by one from block to block: that is how a process that
takes over finds its place.  Kernel facts: net/packet/af_packet.c, prb_* functions.
"""

from __future__ import annotations

import mmap
import struct

from capd.capture import _pack
from capd.ring import Geometry

# struct tpacket_block_desc, <linux/if_packet.h>
_PACKETS = 12
_LENGTH = 20
_NUMBER = 24


class Blocks:
    """The ring's blocks; `head` is the next one to read."""

    def __init__(self, ring_fd: int, geometry: Geometry) -> None:
        self.memory = mmap.mmap(ring_fd, geometry.size)
        self.size = geometry.block_size
        self.count = geometry.blocks
        self.head = 0

    def locate(self, committed: int) -> None:
        """Find the place in the ring: the oldest retired block, else the one being filled.

        Blocks up to number `committed` are in a segment already and go back unread.
        """
        retired: list[tuple[int, int]] = []
        numbers: list[tuple[int, int]] = []
        for block in range(self.count):
            offset = block * self.size
            number = self._number(offset)
            numbers.append((-number, block))
            if _pack.retired(self.memory, offset):
                if number <= committed:
                    _pack.release(self.memory, offset)
                else:
                    retired.append((number, block))
        self.head = min(retired)[1] if retired else min(numbers)[1]
        if not retired and self.number <= committed:  # frozen: the kernel has not opened another
            self.head = (self.head + 1) % self.count

    @property
    def offset(self) -> int:
        """Where the head block begins in `memory`."""
        return self.head * self.size

    @property
    def ready(self) -> bool:
        """Whether the head block has been handed over."""
        return _pack.retired(self.memory, self.offset)

    @property
    def number(self) -> int:
        """The head block's number, since the ring was made."""
        return self._number(self.offset)

    @property
    def newest(self) -> int:
        """The number of the block that the kernel is filling, or filled last."""
        return max(self._number(block * self.size) for block in range(self.count))

    @property
    def packets(self) -> int:
        """How many packets the head block announces; also while the kernel fills it."""
        (packets,) = struct.unpack_from("=I", self.memory, self.offset + _PACKETS)
        return int(packets)

    @property
    def length(self) -> int:
        """Bytes of the head block in use: its packets need no more in a segment."""
        (length,) = struct.unpack_from("=I", self.memory, self.offset + _LENGTH)
        return min(int(length), self.size)

    def release(self) -> None:
        """Give the head block back and move on."""
        _pack.release(self.memory, self.offset)
        self.head = (self.head + 1) % self.count

    def waiting(self) -> int:
        """How many blocks have been handed over and not been read yet."""
        for ahead in range(self.count):
            if not _pack.retired(self.memory, (self.head + ahead) % self.count * self.size):
                return ahead
        return self.count

    def _number(self, offset: int) -> int:
        (number,) = struct.unpack_from("=Q", self.memory, offset + _NUMBER)
        return int(number)
