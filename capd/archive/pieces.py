"""A file of any size, read by pieces: memory stays bounded, and the page cache is left as it was.

It knows no format but one thing: whoever looks at an offset may look as far behind it as the
longest block that capd writes needs, and as far again for the block after that.
"""

from __future__ import annotations

import errno
import os
import struct

PIECE = 4 * 2**20
AHEAD = 2**20  # bytes behind an offset that are at hand with it, where the file has them
_PAGE = 4096
_WORD = struct.Struct("=I")


class Pieces:
    """One open file, of which at any time one piece is in memory: `content`, from `base` on."""

    def __init__(self, fd: int, size: int) -> None:
        self.size = size
        self.base = 0
        self.content = b""
        self._fd = fd

    def reach(self, offset: int) -> int:
        """Have what is at `offset`, and AHEAD behind it, in `content`; gives where there."""
        wanted = min(offset + AHEAD, self.size)
        if offset < self.base or wanted > self.base + len(self.content):
            self._load(offset // _PAGE * _PAGE)
        return offset - self.base

    def word(self, offset: int) -> int:
        """The 32 bits at `offset`."""
        at = self.reach(offset)
        return int(_WORD.unpack_from(self.content, at)[0])

    def find(self, pattern: bytes, start: int, end: int) -> int:
        """Where `pattern` stands first in [start, end), at a multiple of its length; else `end`."""
        step = len(pattern)
        at = start
        while at + step <= end:
            index = self.reach(at)
            found = self.content.find(pattern, index, end - self.base)
            if found >= 0 and found % step == 0:
                return self.base + found
            if found >= 0:
                at = self.base + found + step - found % step
            else:
                at = self._behind_hole(self.base + len(self.content)) // step * step
        return end

    def is_zero(self, start: int) -> bool:
        """Whether nothing but zeros is in the file from `start` on."""
        at = start
        while at < self.size:
            index = self.reach(at)
            if self.content[index:] != bytes(len(self.content) - index):
                return False
            at = self._behind_hole(self.base + len(self.content))
        return True

    def drop(self) -> None:
        """What has been read need not stay in the page cache."""
        os.posix_fadvise(self._fd, self.base, len(self.content), os.POSIX_FADV_DONTNEED)

    def _behind_hole(self, offset: int) -> int:
        """The next offset from this one on at which the file has data; its size if nowhere."""
        if offset >= self.size:
            return self.size
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return self.size

    def _load(self, base: int) -> None:
        self.drop()
        parts: list[bytes] = []
        end = min(base + PIECE, self.size)
        at = base
        while at < end:
            part = os.pread(self._fd, end - at, at)
            if not part:
                raise OSError(errno.EIO, "the file is shorter than it was")
            parts.append(part)
            at += len(part)
        self.base, self.content = base, b"".join(parts)
