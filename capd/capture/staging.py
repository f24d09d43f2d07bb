"""The page-aligned buffer in which packets become pcapng, and the way to the disk.

A file's last page is kept in the buffer and written again with what follows it, so that
O_DIRECT's whole pages and a tight file go together: between the end of the records and
the page's end stands one block that readers skip.  Owns no file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from typing import NamedTuple

from capd import pcapng
from capd.capture import _pack
from capd.capture.blocks import Blocks
from capd.messages import Source
from capd.pages import HUGE_PAGE, PAGE, buffer


class Packed(NamedTuple):
    """What came out of one ring block."""

    packets: int
    malformed: int
    clamped: int
    first: int
    last: int
    overlap: int


class Staging:
    """The last page of a file and what is to be appended to it."""

    def __init__(self, room: int) -> None:
        """`room`: the most bytes that are appended between two writes."""
        size = -(-(room + 4 * PAGE) // HUGE_PAGE) * HUGE_PAGE
        self._memory = buffer(size)
        self._view = memoryview(self._memory)
        self._base = 0  # where in the file the buffer begins; a multiple of PAGE
        self._kept = 0  # bytes that are in the file already
        self._end = 0

    @property
    def length(self) -> int:
        """The file's length with all that is staged."""
        return self._base + self._end

    @property
    def tail(self) -> bytes:
        """The file's last, partial page, as far as it is committed."""
        return bytes(self._view[: self._kept])

    def restart(self, tail: bytes, length: int) -> None:
        """Go on with a file of `length` bytes whose last, partial page is `tail`."""
        self._base = length - len(tail)
        self._kept = self._end = len(tail)
        self._view[: self._end] = tail

    def resume(self, fd: int, length: int) -> None:
        """Go on with a file of which `length` bytes are committed, and cut off the rest."""
        if os.fstat(fd).st_size < length:
            raise OSError(errno.EIO, "the file is shorter than what was committed")
        os.ftruncate(fd, length)
        self._base = length // PAGE * PAGE
        self._kept = self._end = length - self._base
        if self._end and os.preadv(fd, [self._view[:PAGE]], self._base) < self._end:
            raise OSError(errno.EIO, "the file's last page cannot be read")

    def append(self, block: bytes) -> None:
        """Stage one pcapng block."""
        self._view[self._end : self._end + len(block)] = block
        self._end += len(block)

    def pack(self, blocks: Blocks, source: Source, since: int, until: int) -> Packed:
        """Stage the packets of the ring's head block that are stamped in [since, until)."""
        self._end, *packed = _pack.pack(
            blocks.memory,
            blocks.offset,
            blocks.size,
            self._view,
            self._end,
            source.snaplen,
            source.record_direction,
            since,
            until,
        )
        return Packed(*packed)

    def write(self, fd: int) -> None:
        """Put everything into the file.  OSError leaves the staged part staged."""
        full = -(-self._end // PAGE) * PAGE
        if 0 < full - self._end < pcapng.LEAST_BLOCK:
            full += PAGE
        if full > self._end:
            self._view[self._end : full] = pcapng.padding(full - self._end)
        done = 0
        while done < full:
            count = os.pwrite(fd, self._view[done:full], self._base + done)
            if count < PAGE:
                number = _why_short(self._base + done + PAGE)
                raise OSError(number, os.strerror(number))
            done += count // PAGE * PAGE

    def keep(self) -> None:
        """What is staged is committed: move the last, partial page to the front."""
        whole = self._end // PAGE * PAGE
        self._kept = self._end - whole
        self._view[: self._kept] = self._view[whole : self._end]
        self._base += whole
        self._end = self._kept

    def forget(self) -> None:
        """Drop what was staged since the last `keep`."""
        self._end = self._kept


def _why_short(end: int) -> int:
    """The error that the rest of a write would have met, up to this length of the file."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return errno.EFBIG if limit != resource.RLIM_INFINITY and end > limit else errno.ENOSPC


def forgo_direct(fd: int) -> bool:
    """Take O_DIRECT off a file that does not bear it; False if it was not on."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
    return bool(flags & os.O_DIRECT)
