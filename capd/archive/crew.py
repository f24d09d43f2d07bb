"""The threads that do what there is to do, one segment each, and what came of it.

A thread passes the gate before each section, so a pause takes effect within one.  What people
should read is put into a queue; the main loop, which owns the socket, sends it.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from dataclasses import dataclass

from capd.archive import keeping
from capd.archive.backlog import Backlog, Job, Work
from capd.archive.compressor import MismatchError
from capd.archive.folder import Folder, opened
from capd.archive.gate import Gate, LeavingError
from capd.errors import NO_ROOM, StorageError
from capd.events import Kind
from capd.messages import ArchivePlan, Event

WAIT = 1.0  # s for something to do
PATIENCE = 5.0  # s in all, for the threads to end
# What concerns the whole file system is told once until something succeeds.
_DISK = "disk"
_OF_THE_DISK = {*NO_ROOM, errno.EROFS}


@dataclass
class Totals:
    """What has been done; counts of segments, sums of bytes."""

    indexed: int = 0
    compressed: int = 0
    raw_bytes: int = 0
    compressed_bytes: int = 0


class Crew:
    """Threads that run until `leave`."""

    def __init__(self, plan: ArchivePlan, backlog: Backlog, gate: Gate) -> None:
        self.plan = plan  # may be replaced; what was begun goes on under the one before
        self.totals = Totals()
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._backlog, self._gate = backlog, gate
        self._lock = threading.Lock()
        self._told: set[tuple[object, ...]] = set()
        self._left = threading.Event()
        count = plan.threads or max(1, (os.cpu_count() or 1) // 2)
        self._threads = [
            threading.Thread(target=self._run, name=f"archive-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """All of them."""
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether none of them has died."""
        return all(thread.is_alive() for thread in self._threads)

    def leave(self) -> bool:
        """End at the next section; False if one of them hangs, on a disk that does not answer."""
        self._left.set()
        self._gate.leave()
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def tell(self, kind: Kind, text: str, *, once: tuple[object, ...] = (), **facts: int) -> None:
        """Have the daemon say it; not again if the same was told `once` already."""
        with self._lock:
            if once in self._told:
                return
            if once:
                self._told.add(once)
        self.events.put(Event(kind.name, text, facts))

    def forget(self, *subjects: str) -> None:
        """What was told of these is over: tell it again when it comes again."""
        with self._lock:
            self._told = {once for once in self._told if once[0] not in subjects}

    def _run(self) -> None:
        while not self._left.is_set():
            try:
                self._gate.go_through()
                job = self._backlog.take(self.plan, WAIT)
                if job is not None:
                    self._work(job)
            except LeavingError:
                return

    def _work(self, job: Job) -> None:
        path = job.segment.path
        try:
            self._gate.go_through()  # it may have closed while there was nothing to do
            with opened(self.plan.directory, os.path.dirname(path)) as folder:
                whole = folder is None or self._do(folder, job)
        except LeavingError:
            self._backlog.release(job.segment)
            raise
        except StorageError as error:
            self._backlog.damaged(job)
            text = f"{path}: {error}; it is left as it is"
            self.tell(Kind.SEGMENT_DAMAGED, text, once=(path, "damaged"))
        except MismatchError as error:
            self._backlog.failed(job)
            text = f"{path}: {error}; it stays raw"
            self.tell(Kind.ARCHIVE_TROUBLE, text, once=(path, "mismatch"))
        except OSError as error:
            self._backlog.failed(job)
            self._complain(job, error)
        else:
            if whole:
                self._backlog.done(job)
                self.forget(path, _DISK)
            else:
                self._backlog.useless(job)

    def _do(self, folder: Folder, job: Job) -> bool:
        """False: the segment's index is of no use."""
        name, size = job.segment.name, self.plan.section_size
        if job.work is Work.SETTLE:
            return keeping.settle(folder, name)
        if job.work is Work.CHECK:
            return not folder.has(name.file) or keeping.read_index(folder, name) is not None
        if job.work is Work.INDEX:
            if keeping.make_index(folder, name, size, self._gate.go_through):
                self._count(indexed=1)
            return True
        sizes = keeping.make_compressed(folder, name, job.level, size, self._gate.go_through)
        if sizes is not None:
            self._count(int(not job.segment.indexed), 1, *sizes)
        return True

    def _count(
        self, indexed: int, compressed: int = 0, raw_bytes: int = 0, compressed_bytes: int = 0
    ) -> None:
        with self._lock:
            self.totals.indexed += indexed
            self.totals.compressed += compressed
            self.totals.raw_bytes += raw_bytes
            self.totals.compressed_bytes += compressed_bytes

    def _complain(self, job: Job, error: OSError) -> None:
        number, path = error.errno, job.segment.path
        once = (_DISK, number) if number in _OF_THE_DISK else (path, number)
        text = f"{path}: {error.strerror}; it stays as it is and is tried again"
        self.tell(Kind.ARCHIVE_TROUBLE, text, once=once)
