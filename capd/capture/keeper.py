"""The thread beside the capture loop: whatever on a file may take long.

It makes the next segment's file before it is needed, calls fdatasync every `sync_interval`, and
closes finished segments durably: last page, exact length, fdatasync, final name, fsync of the
folders.  It never touches the ring, and only a rotation waits for it, which then comes later.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from capd.capture.closing import closing_statistics
from capd.capture.folder import Folder
from capd.capture.outcomes import Closed, Left, Outcome, Spare, Trouble
from capd.capture.staging import Staging, forgo_direct
from capd.capture.state import SegmentState, State
from capd.confirmation import confirm
from capd.errors import NO_ROOM, StorageError
from capd.events import Kind
from capd.pages import HUGE_PAGE
from capd.units import SECOND

RETRY = 1.0  # seconds until a file that could not be made or named is tried again
LAST_TRIES = 3.0  # seconds for that once the thread is to end
BUFFERED_SYNC = 64 * 2**20  # bytes in the page cache before they are pushed out


class Keeper(threading.Thread):
    """Does one task after the other; `collect` gives what came of them."""

    def __init__(
        self, open_folder: Callable[[], Folder], header: bytes, sync_interval: int
    ) -> None:
        """`open_folder` may fail, and is tried again: a full disk refuses even a folder."""
        super().__init__(name="keeper", daemon=True)
        self._open_folder = open_folder
        self._opened: Folder | None = None
        self._header = header
        self._sync_interval = sync_interval / SECOND
        self._sync_due = time.monotonic() + self._sync_interval
        self._tasks: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self._outcomes: deque[Outcome] = deque()
        self.news = os.eventfd(0)  # readable when there is something to collect
        self.full = False  # whether something waits to be done again for want of room on the disk
        self._staging = Staging(HUGE_PAGE // 2)
        self._direct = True
        self._suspect: set[int] = set()
        self._missed = 0  # the segment of which it was told last that it was deleted
        self._current: tuple[int, int] | None = None  # the segment being written: number and file
        self._length = self._pushed = self._synced = 0  # bytes in it, to be confirmed, confirmed
        self._told: set[str] = set()
        self._running = True
        self._deadline = math.inf

    def begin(self, state: State) -> None:
        """Make the next file, a `Spare`; before it come those that another worker left.

        A segment that it was writing comes as a `Left`, one it had completed as a `Closed`.
        """
        self._tasks.put(lambda: self._begin(state))

    def adjust(self, header: bytes, sync_interval: int) -> None:
        """Files that are made from now on begin with this header."""
        self._tasks.put(lambda: self._adjust(header, sync_interval / SECOND))

    def prepare(self, seq: int) -> None:
        """Make the file of segment `seq`; a `Spare` follows."""
        self._tasks.put(lambda: self._prepare(seq))

    def finish(self, fd: int, segment: SegmentState, tail: bytes) -> None:
        """Close a segment whose last, partial page is `tail`; a `Closed` follows."""
        if self._current == (segment.seq, fd):
            self._current = None
        self._tasks.put(partial(self._finish, fd, segment, tail, segment.stamp))

    def watch(self, seq: int, fd: int) -> None:
        """This is the current segment from now on: the one to be synced."""
        self._current = (seq, fd)
        self._length = self._pushed = self._synced = 0

    def advance(self, length: int) -> None:
        """The current segment has grown to this many bytes."""
        self._length = length
        if not self._direct and length - self._pushed > BUFFERED_SYNC:
            self._pushed = length
            self._tasks.put(self._sync)

    def discard(self, seq: int, fd: int) -> None:
        """Remove a file that was made and not needed, and is not the current segment."""
        try:
            os.close(fd)
            if self._opened is not None:  # else it was deleted with its folder
                self._opened.remove(seq)
        except OSError as error:
            self._tell(f"cannot remove the empty segment {seq}: {error.strerror}")

    def drop(self, seq: int, fd: int) -> None:
        """The same when there is time, also for the current segment."""
        if self._current == (seq, fd):
            self._current = None
        self._tasks.put(lambda: self._drop(seq, fd))

    def _begin(self, state: State) -> bool:
        segment, closing = state.segment, state.closing
        last = max(segment.seq, closing.seq)
        if last:
            self._folder.remove_after(last)
        left = self._folder.reopen(segment.seq) if segment.seq else None
        if left is None:  # nothing is known of the folder: another disk may be in its place
            last = max(last, self._folder.last_number(self._tell))
        unclosed = [closing] if closing.seq else []
        if left is not None and not self._running:  # it is too late to go on with it
            os.close(left[0])
            unclosed.append(segment)
        elif left is not None:
            fd, self._direct = left
            self._give(Left(segment.seq, fd))
        elif segment.written:
            self._tell(f"segment {segment.seq} was deleted while it was written")
        for one in unclosed:
            self._tasks.put(partial(self._finish_left, one, one.stamp))
        self._tasks.put(lambda: self._prepare(last + 1))
        return True

    def _drop(self, seq: int, fd: int) -> bool:
        self.discard(seq, fd)
        return True

    def _adjust(self, header: bytes, sync_interval: float) -> bool:
        self._header, self._sync_interval = header, sync_interval
        self._sync_due = min(self._sync_due, time.monotonic() + sync_interval)
        return True

    def stop(self) -> None:
        """End the thread after all that it has been given."""
        self._tasks.put(self._halt)

    def _give(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        os.eventfd_write(self.news, 1)

    def collect(self) -> list[Outcome]:
        """What has come of the tasks since the last call."""
        return [self._outcomes.popleft() for _ in range(len(self._outcomes))]

    def run(self) -> None:
        """The thread."""
        unfinished: list[Callable[[], bool]] = []
        in_place = True
        while self._running or unfinished or not self._tasks.empty():
            if time.monotonic() >= self._deadline:
                break
            wait = max(0.0, self._sync_due - time.monotonic())
            with contextlib.suppress(queue.Empty):
                unfinished.append(self._tasks.get(timeout=min(wait, RETRY) if unfinished else wait))
            unfinished = [task for task in unfinished if not self._attempt(task)]
            if time.monotonic() >= self._sync_due:
                in_place = self._attempt(self._sync)
                self._sync_due = time.monotonic() + self._sync_interval
            if in_place and not unfinished:
                self._told.clear()
                self.full = False
        if unfinished:
            self._tell("the last segment could not be closed; it stays a .part file")

    @property
    def _folder(self) -> Folder:
        if self._opened is None:
            self._opened = self._open_folder()
        return self._opened

    def _attempt(self, task: Callable[[], bool]) -> bool:
        try:
            return task()
        except StorageError as error:
            text, cause = str(error), error.__cause__
        except OSError as error:
            path = self._opened.path if self._opened else "its folder"
            text, cause = f"cannot make or name a file in {path}: {error.strerror}", error
        self._tell(text)
        self.full = getattr(cause, "errno", None) in NO_ROOM
        return False

    def _check_place(self) -> None:
        """StorageError if the folder is no longer what its path names; if deleted, it is let go."""
        if self._folder.is_deleted():
            self._tell(f"{self._folder.path} was deleted with all that was in it; another is made")
            self._folder.close()
            self._opened = None

    def _prepare(self, seq: int) -> bool:
        if not self._running:
            return True
        self._check_place()
        try:
            fd, direct = self._folder.create(seq)
        except FileExistsError:  # left behind by an attempt that could not clean up
            self.prepare(seq + 1)
            return True
        self._staging.restart(b"", 0)
        self._staging.append(self._header)
        try:
            self._write(fd, direct=direct)
        except OSError:
            os.close(fd)
            self._folder.remove(seq)
            raise
        self._give(Spare(seq, fd, self._header))
        return True

    def _finish_left(self, segment: SegmentState, stamp: int) -> bool:
        left = self._folder.reopen(segment.seq)
        if left is None:  # it got its name before the worker could say so
            self._give(Closed(segment, ""))
            return True
        fd, self._direct = left
        try:
            self._staging.resume(fd, segment.length)
        except OSError as error:
            os.close(fd)
            if error.errno != errno.EIO:
                raise
            self._tell(f"cannot close segment {segment.seq}: {error.strerror}; it stays a .part")
            self._give(Closed(segment, None))  # or there would be no rotation any more
            return True
        return self._close(fd, segment, stamp)

    def _finish(self, fd: int, segment: SegmentState, tail: bytes, stamp: int) -> bool:
        if not os.fstat(fd).st_nlink:
            if segment.seq != self._missed:
                self._tell(f"segment {segment.seq} was deleted while it was written")
            os.close(fd)
            self._give(Closed(segment, None))
            return True
        self._staging.restart(tail, segment.length)
        return self._close(fd, segment, stamp)

    def _close(self, fd: int, segment: SegmentState, stamp: int) -> bool:
        self._staging.append(closing_statistics(segment))
        try:
            self._write(fd, direct=self._direct)
        except OSError as error:
            self._tell(f"segment {segment.seq} ends without its counters: {error.strerror}")
            self._staging.forget()
        os.ftruncate(fd, self._staging.length)
        trusted = self._fdatasync(segment.seq, fd) and segment.seq not in self._suspect
        name = self._folder.rename(segment.seq, stamp, trusted=trusted)
        with contextlib.suppress(OSError):  # all that matters is confirmed, or the name says so
            os.close(fd)
        self._suspect.discard(segment.seq)
        try:
            self._folder.sync(name)
        except OSError as error:
            self._tell(f"the disk did not confirm the name {name.file}: {error.strerror}")
        self._give(Closed(segment, f"{self._folder.path}/{name.folder}/{name.file}"))
        return True

    def _write(self, fd: int, *, direct: bool) -> None:
        try:
            self._staging.write(fd)
        except OSError as error:
            if error.errno != errno.EINVAL or not forgo_direct(fd):
                raise
            direct = False
            self._staging.write(fd)
        if self._direct and not direct:
            text = f"{self._folder.path} does not take O_DIRECT: writing through the page cache"
            self._give(Trouble(Kind.NOT_DIRECT, text))
        self._direct = direct

    def _halt(self) -> bool:
        self._running = False
        self._deadline = time.monotonic() + LAST_TRIES
        return True

    def _sync(self) -> bool:
        current, length = self._current, self._length
        if current is not None and length != self._synced:
            self._confirm(*current)
            self._synced = length
        if current is not None:
            self._check_place()
        return True

    def _confirm(self, seq: int, fd: int) -> None:
        if os.fstat(fd).st_nlink:
            self._fdatasync(seq, fd)
        elif seq != self._missed:
            self._missed = seq
            text = f"segment {seq} was deleted while it was written: another follows"
            self._give(Trouble(Kind.FILE_TROUBLE, text, renew=True))

    def _fdatasync(self, seq: int, fd: int) -> bool:
        """False when the disk refuses: then not even a later success can be trusted."""
        try:
            confirm(fd)
        except OSError as error:
            if seq not in self._suspect:
                text = f"the disk did not confirm segment {seq}, a suspect now: {error.strerror}"
                self._give(Trouble(Kind.FILE_TROUBLE, text, renew=True))
            self._suspect.add(seq)
            return False
        if not self._direct:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return True

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._give(Trouble(Kind.FILE_TROUBLE, text))
            self._told.add(text)
