"""Reading segments without a trace: what is read leaves the page cache as it was.

The memory that a busy capture box has to spare belongs to whatever runs there, not to packets
that are looked at once.
"""

from __future__ import annotations

import os
from collections import deque

PIECE = 4 * 2**20  # bytes that are looked at together, where no index tells sections


class Buffers:
    """Memory that is used again: fresh pages cost as much as what is done with them."""

    def __init__(self) -> None:
        self._free: deque[bytearray] = deque(maxlen=64)

    def take(self, size: int) -> bytearray:
        """At least so many bytes, whatever is in them."""
        try:
            buffer = self._free.pop()
        except IndexError:
            return bytearray(size)
        return buffer if len(buffer) >= size else bytearray(size)

    def give(self, buffer: object) -> None:
        """Not needed any more; of anything but a buffer nothing is kept."""
        if isinstance(buffer, bytearray):
            self._free.append(buffer)


class Reader:
    """One file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # pieces are some MiB: what the kernel would read ahead of them is perhaps not wanted
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._fd).st_size

    def read(self, buffer: bytearray, size: int, offset: int) -> int:
        """Fill the buffer's first `size` bytes from there on; gives how many came.  OSError."""
        view = memoryview(buffer)[:size]
        done = self._cached(view, offset)
        if done == size:
            return done
        while done < size and (count := os.preadv(self._fd, [view[done:]], offset + done)):
            done += count
        os.posix_fadvise(self._fd, offset, size, os.POSIX_FADV_DONTNEED)
        return done

    def _cached(self, view: memoryview, offset: int) -> int:
        """How much of it was in the page cache."""
        try:
            return os.preadv(self._fd, [view], offset, os.RWF_NOWAIT)
        except OSError:  # nothing, or the file system cannot tell
            return 0


class Stream:
    """The file from its beginning on, for a decoder."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._at = 0

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end.  OSError."""
        buffer = bytearray(size)
        count = self._reader.read(buffer, size, self._at)
        self._at += count
        return bytes(memoryview(buffer)[:count])
