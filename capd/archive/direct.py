"""Reading and writing files from end to end, past the page cache.

The packets that capture writes and the pages that other programs need are not to be pushed
out of memory by segments that pass through here once.  Where a file system does not know
O_DIRECT, what was read and written is dropped from the cache as soon as it can be.  Owns the
buffers; it opens and names no file.
"""

from __future__ import annotations

import errno
import fcntl
import os

from capd.pages import PAGE, buffer

STAGED = 4 * 2**20  # bytes that are written at once


def _whole_pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _forgo_direct(fd: int) -> bool:
    """Go on through the page cache: some file systems refuse late, when it is used."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
    return False


class Reader:
    """A file's bytes in their order: a window is filled at its end and taken from its start."""

    def __init__(self, fd: int, room: int, *, direct: bool) -> None:
        """`room`: the most bytes that the window is ever to have."""
        self._fd, self._direct = fd, direct
        self.size = os.fstat(fd).st_size
        # What is left of the window is moved to just before `_middle`, and reading goes on there.
        self._middle = _whole_pages(room)
        self._memory = memoryview(buffer(2 * self._middle + PAGE))
        self._start = self._end = self._middle
        self._read = 0  # bytes of the file; a multiple of PAGE, or all of them

    @property
    def offset(self) -> int:
        """Where in the file the window begins."""
        return self._read - (self._end - self._start)

    @property
    def whole(self) -> bool:
        """Whether the window reaches to the file's end."""
        return self._read == self.size

    @property
    def window(self) -> memoryview:
        """What was read and not yet taken; to be dropped before `fill`."""
        return self._memory[self._start : self._end]

    def fill(self, wanted: int) -> None:
        """Have at least so many bytes in the window, or all that are left."""
        kept = self._end - self._start
        if kept >= wanted or self.whole:
            return
        self._memory[self._middle - kept : self._middle] = self._memory[self._start : self._end]
        self._start, self._end = self._middle - kept, self._middle
        while self._end - self._start < wanted and not self.whole:
            asked = _whole_pages(wanted - (self._end - self._start))
            due = min(asked, self.size - self._read)
            place = self._memory[self._end : self._end + asked]
            count = self._receive(place)
            if count < due:
                count -= count % PAGE
                if not count:
                    raise OSError(errno.EIO, "the file is shorter than it was")
            if not self._direct:
                os.posix_fadvise(self._fd, self._read, count, os.POSIX_FADV_DONTNEED)
            count = min(count, due)
            self._end += count
            self._read += count

    def _receive(self, place: memoryview) -> int:
        try:
            return os.preadv(self._fd, [place], self._read)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
        self._direct = _forgo_direct(self._fd)
        return os.preadv(self._fd, [place], self._read)

    def take(self, count: int) -> None:
        """So many bytes of the window are done with."""
        self._start += count


class Writer:
    """A new file, written from its start to its end."""

    def __init__(self, fd: int, *, direct: bool) -> None:
        self._fd, self._direct = fd, direct
        self._memory = memoryview(buffer(STAGED))
        self._staged = 0
        self._written = 0  # a multiple of STAGED until the end

    @property
    def length(self) -> int:
        """Bytes that the file has, with those that are staged."""
        return self._written + self._staged

    def append(self, content: bytes | memoryview) -> None:
        """Behind what is there."""
        left = memoryview(content)
        while left:
            count = min(len(left), STAGED - self._staged)
            self._memory[self._staged : self._staged + count] = left[:count]
            self._staged += count
            left = left[count:]
            if self._staged == STAGED:
                self._write(STAGED)

    def finish(self) -> int:
        """Everything is on the disk and nothing of it in memory; how many bytes there are.

        OSError: the file is worth nothing, now and later: the kernel tells of a lost page once.
        """
        length = self.length
        whole = _whole_pages(self._staged)
        self._memory[self._staged : whole] = bytes(whole - self._staged)
        self._write(whole)
        os.ftruncate(self._fd, length)
        self._written = length
        os.fsync(self._fd)
        # The last page of a file that was cut inside it comes into the cache by the cutting.
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return length

    def _write(self, count: int) -> None:
        done = 0
        while done < count:
            put = self._put(done, count)
            if put < PAGE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done += put // PAGE * PAGE
        if not self._direct:
            os.fdatasync(self._fd)
            os.posix_fadvise(self._fd, self._written, done, os.POSIX_FADV_DONTNEED)
        self._written += done
        self._staged = 0

    def _put(self, start: int, end: int) -> int:
        try:
            return os.pwrite(self._fd, self._memory[start:end], self._written + start)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
        self._direct = _forgo_direct(self._fd)
        return os.pwrite(self._fd, self._memory[start:end], self._written + start)
