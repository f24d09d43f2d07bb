"""What becomes of the `.part` file of a run that is dead: closed and named, or set aside.

Only what cannot hold a packet is deleted.  Whole blocks stay where they are; what is broken
between them is covered, in place, by blocks of padding, which readers skip; what is broken
behind the last of them is cut off.

The statistics that say so are written before anything else is changed, and say nothing that
depends on when: so whoever is killed in between, the next run makes the same file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from capd import folders, names, pcapng
from capd.archive.remains import Remains, Stretch, examine
from capd.confirmation import confirm
from capd.errors import NO_ROOM, StorageError
from capd.names import SegmentName

COVER = 2**18  # bytes of one block of padding, which readers have to hold in memory
MOST_COVERS = 2**16
UNCLOSED = "cut at the last whole block: the capture ended without closing this segment"
DAMAGED = "closed, but damaged before it got its name"
_COUNTS = re.compile(r"; ([0-9]+) bytes cut off, ([0-9]+) covered")
_MOST = 2**64 - 1
_NO_MORE = {*NO_ROOM, errno.EFBIG}
_HEAD, _WORD = struct.Struct("=II"), struct.Struct("=I")
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # never waits for a pipe's end


class Outcome(NamedTuple):
    """What became of one file."""

    # "renamed", "removed" (nothing was in it), "set aside", "left alone" (it is not capd's, or
    # its new name is taken), "failed" (what failed may work later), "gone" (there is none)
    what: str
    path: str  # where it is now, below the ring's folder; "" if nowhere
    packets: int
    cut: int  # bytes that were cut off or covered
    text: str


def salvage(folder_fd: int, ring: str, seq: int) -> Outcome:
    """Close, remove or set aside segment `seq` of a ring, whose folder is open as `folder_fd`."""
    name = names.part_name(seq)
    place = f"{ring}/{name}"
    try:
        fd = _open(folder_fd, name)
        if fd is None:
            return Outcome("left alone", name, 0, 0, f"{place} is no file of capd's: left alone")
        try:
            return _Part(folder_fd, ring, seq, fd).salvage()
        finally:
            with contextlib.suppress(OSError):  # what matters is confirmed, or told by the name
                os.close(fd)
    except FileNotFoundError:
        return Outcome("gone", "", 0, 0, f"{place} is gone")
    except FileExistsError as error:
        text = f"{place} keeps its name: there is a {error.filename} already"
        return Outcome("left alone", name, 0, 0, text)
    except OSError as error:
        return Outcome("failed", name, 0, 0, f"cannot salvage {place}: {error.strerror}")


def _open(folder: int, name: str) -> int | None:
    """The file's descriptor; None for what is not a file of its own."""
    if not _is_own(os.stat(name, dir_fd=folder, follow_symlinks=False)):
        return None
    fd = os.open(name, _FLAGS, dir_fd=folder)
    if _is_own(os.fstat(fd)):
        return fd
    os.close(fd)
    return None


def _is_own(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


class _Part:
    """One file, open."""

    def __init__(self, folder: int, ring: str, seq: int, fd: int) -> None:
        self._folder = folder
        self._ring = ring
        self._seq = seq
        self._name = names.part_name(seq)
        self._place = f"{ring}/{self._name}"
        self._fd = fd

    def salvage(self) -> Outcome:
        try:
            remains = examine(self._fd, os.fstat(self._fd).st_size)
        except StorageError as error:
            return self._set_aside(str(error))
        if remains.empty:
            return self._remove()
        if not remains.headed:
            return self._set_aside("it does not begin as a segment")
        if not remains.packets and (remains.statistics is None or not remains.statistics.received):
            return self._set_aside("there is no whole packet in it")
        covers = sum(-(-(end - start) // COVER) for start, end in remains.stretches)
        if covers > MOST_COVERS:
            return self._set_aside("too much of it is damaged")
        return self._finish(remains)

    def _remove(self) -> Outcome:
        os.unlink(self._name, dir_fd=self._folder)
        os.fsync(self._folder)
        return Outcome("removed", "", 0, 0, f"{self._place} is removed: nothing was in it")

    def _set_aside(self, why: str) -> Outcome:
        name = names.damaged_name(self._seq)
        folders.rename(self._folder, self._name, self._folder, name)
        os.fsync(self._folder)
        text = f"{self._place} is set aside as {name}: {why}"
        return Outcome("set aside", name, 0, 0, text)

    def _finish(self, remains: Remains) -> Outcome:
        closing, cut, comment = _closing(remains)
        length = remains.end + self._write_closing(closing, remains.end)
        # Also releases space that was reserved behind the end.
        os.ftruncate(self._fd, length)
        for stretch in remains.stretches:
            self._cover(stretch)
        suffix = names.SEGMENT_SUFFIX if self._confirm() else names.SUSPECT_SUFFIX
        name = SegmentName(self._ring, remains.first, self._seq, suffix)
        folders.rename_segment(self._folder, self._name, name)
        text = f"{self._place} is {name.file} now, {remains.packets} packets"
        text += f": {comment}" if comment else ": it was closed, only its name was missing"
        if suffix == names.SUSPECT_SUFFIX:
            text += "; the disk did not confirm it, so it is a suspect"
        try:
            folders.sync_name(self._folder, name)
        except OSError as error:
            text += f"; the disk did not confirm its name: {error.strerror}"
        return Outcome("renamed", f"{name.folder}/{name.file}", remains.packets, cut, text)

    def _write_closing(self, closing: bytes, end: int) -> int:
        """How much of the file that is: none where there is no room, which is no reason to wait."""
        if not closing:
            return 0
        try:
            written = os.pwrite(self._fd, closing, end)
        except OSError as error:
            if error.errno not in _NO_MORE:
                raise
            return 0
        return written if written == len(closing) else 0

    def _cover(self, stretch: Stretch) -> None:
        # From behind, and of each block the head last: until the first block's head is there,
        # a walk finds the same stretch again.
        for start, end in reversed(list(_pieces_of(stretch))):
            self._put(_WORD.pack(end - start), end - _WORD.size)
            self._put(_HEAD.pack(pcapng.PADDING, end - start), start)

    def _put(self, content: bytes, offset: int) -> None:
        if os.pwrite(self._fd, content, offset) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _confirm(self) -> bool:
        """Whether the disk has it all, and always had what it was asked for."""
        try:
            confirm(self._fd)
        except OSError:
            return False
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return True


def _pieces_of(stretch: Stretch) -> Iterator[Stretch]:
    """The blocks that cover a stretch: none too long, and none too short to be a block."""
    start, end = stretch
    while end - start > COVER:
        step = COVER if end - start >= COVER + pcapng.LEAST_BLOCK else COVER - pcapng.LEAST_BLOCK
        yield Stretch(start, start + step)
        start += step
    yield Stretch(start, end)


def _closing(remains: Remains) -> tuple[bytes, int, str]:
    """The block to append, if any; the bytes that are lost for readers; the words for both."""
    known = remains.statistics
    cut = remains.size - remains.end if not remains.clean else 0
    covered = sum(end - start for start, end in remains.stretches)
    if known is not None and remains.closed:
        if known.comment.startswith((UNCLOSED, DAMAGED)):  # by a run that went no further
            counts = _COUNTS.search(known.comment)
            return b"", sum(map(int, counts.groups())) if counts else 0, known.comment
        if remains.clean and not covered:
            return b"", 0, ""
    comment = DAMAGED if known is not None and remains.closed and remains.clean else UNCLOSED
    comment += f"; {cut} bytes cut off, {covered} covered"
    if known is not None and known.comment:
        comment += f"; {known.comment}"
    received = remains.packets + remains.lost
    if known is not None:
        received = max(received, known.received)
    block = pcapng.statistics(
        now=remains.last,
        first=remains.first,
        last=remains.last,
        received=min(received, _MOST),
        dropped=min(known.dropped, _MOST) if known is not None else 0,
        written=remains.packets,
        comment=comment,
        missed=min(known.missed, _MOST) if known is not None else 0,
    )
    return block, cut + covered, comment
