"""The archive process: its loop, its socket, and its view of the directory.

The daemon tells the plan and, every second, how loaded capture is; without that it does
nothing.  It scans when told that a segment was closed, and every few seconds; threads do the
work (`crew.py`).  What a run that was cut off has left, as the daemon tells it, is salvaged
between them (`recovery.py`); another thread moves what is finished to the second directory
(`mover.py`).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time

from capd.archive import cleaning, manners
from capd.archive.backlog import Backlog
from capd.archive.crew import PATIENCE, Crew
from capd.archive.gate import Gate
from capd.archive.mover import Mover
from capd.archive.pace import Decision, Pace
from capd.archive.recovery import Recovery
from capd.catalog import Catalog, RingFiles
from capd.errors import StorageError, WorkerError
from capd.events import Kind
from capd.folders import is_on_root
from capd.messages import (
    MAX_MESSAGE,
    ArchiveAdjust,
    ArchivePlan,
    ArchiveReport,
    ArchiveStart,
    Event,
    Load,
    Look,
    Message,
    Salvage,
    decode,
    encode,
)
from capd.units import SECOND

REPORT_EVERY = SECOND
SCAN_EVERY = 5 * SECOND
SCAN_LEAST = SECOND // 5  # between two scans, however many segments are closed

_SCAN = "scan"


class Archive:
    """The loop and what it needs; `run` returns when the process has to leave."""

    def __init__(self, control: socket.socket, plan: ArchivePlan) -> None:
        self._control = control
        self._pace = Pace()
        self._turns = 0
        self._leaving = self._recovering = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._next_report = self._next_scan = self._last_scan = 0
        self._begin(plan)

    def leave(self, *_: object) -> None:
        """As soon as the sections in work are done."""
        self._leaving = True
        os.eventfd_write(self._wake, 1)

    def run(self) -> bool:
        """Work until told to leave; False if a thread hangs."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        for refusal in manners.yield_to_all():
            text = f"it runs without the idle classes, which may cost capture something: {refusal}"
            self._tell(Kind.ARCHIVE_TROUBLE, text)
        self._start()
        while not self._leaving:
            self._turns += 1
            for fd, _ in poller.poll(self._idle()):
                if fd == self._control.fileno():
                    self._listen()
            self._tend()
        return self._stop()

    def _begin(self, plan: ArchivePlan) -> None:
        self._plan = plan
        self._catalog = Catalog(plan.directory)
        self._backlog, self._gate, self._move_gate = Backlog(), Gate(), Gate()
        self._crew = Crew(plan, self._backlog, self._gate)
        self._mover = Mover(plan, self._backlog, self._move_gate, self._crew.tell)
        self._recovery = Recovery(plan.directory, self._crew.tell)

    def _start(self) -> None:
        self._crew.start()
        self._mover.start()

    def _stop(self) -> bool:
        """False if a thread hangs."""
        return self._crew.leave() and self._mover.leave(PATIENCE)

    def _idle(self) -> int:
        """Milliseconds until there is something to do again."""
        if self._recovering:
            return 0
        due = min(self._next_report, self._next_scan) - time.monotonic_ns()
        return max(1, due // 10**6)

    def _tend(self) -> None:
        self._decide()  # a scan of a large directory takes its time
        if time.monotonic_ns() >= self._next_scan:
            self._scan()
        decision, now = self._decide(), time.monotonic_ns()
        if not decision.paused:
            self._recover()
        if now >= self._next_report:
            self._next_report = now + REPORT_EVERY
            self._report(decision)
            if not self._crew.alive or not self._mover.alive:
                raise WorkerError("a thread of the archive process has died")

    def _recover(self) -> None:
        """Salvage one file, if there is any."""
        try:
            self._recovering = self._recovery.is_due and self._may_touch()
        except OSError:  # the next scan tells
            self._recovering = False
        if self._recovering:
            self._recovery.step()
            self._send_events()
            self._next_scan = 0

    def _decide(self) -> Decision:
        now = time.monotonic_ns()
        decision = self._pace.decide(now, self._backlog.most, self._plan.level)
        self._gate.set(paused=decision.paused)
        self._move_gate.set(paused=not decision.moving)
        return decision

    def _listen(self) -> None:
        while not self._leaving:
            try:
                datagram = self._control.recv(MAX_MESSAGE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionResetError:
                datagram = b""
            if not datagram:
                self._leaving = True
                return
            message = decode(datagram)
            if isinstance(message, Load):
                now, late, full = time.monotonic_ns(), message.late, message.full
                self._pace.hear(now, message.filled, late=late, full=full)
                self._mover.reserve = message.reserve
            elif isinstance(message, Look):
                self._next_scan = min(self._next_scan, self._last_scan + SCAN_LEAST)
            elif isinstance(message, Salvage):
                self._recovery.add(message.ring, message.seqs)
            elif isinstance(message, ArchiveAdjust):
                self._adjust(message.plan)

    def _adjust(self, plan: ArchivePlan) -> None:
        self._next_scan = 0
        before, self._plan = self._plan, plan
        if (plan.directory, plan.threads) == (before.directory, before.threads):
            self._crew.plan = self._mover.plan = plan
            return
        totals = self._crew.totals
        moved = self._mover.moved, self._mover.moved_bytes, self._mover.refused
        if not self._stop():
            raise WorkerError("a thread of the archive process hangs; another process takes over")
        self._send_events()
        self._begin(plan)
        self._crew.totals = totals
        self._mover.moved, self._mover.moved_bytes, self._mover.refused = moved
        self._start()

    def _scan(self) -> None:
        self._last_scan = time.monotonic_ns()
        rings: dict[str, RingFiles] = {}
        try:
            if self._may_touch():
                rings = self._catalog.scan()
                self._clean(rings)
            self._crew.forget(_SCAN)
        except OSError as error:
            self._complain(_SCAN, f"cannot use {self._plan.directory}: {error.strerror}")
        except StorageError as error:
            self._complain(_SCAN, str(error))
        self._backlog.renew(rings, self._plan)
        self._mover.renew(rings)
        self._next_scan = time.monotonic_ns() + SCAN_EVERY

    def _may_touch(self) -> bool:
        """Whether the directory is the one that is meant."""
        on_root = is_on_root(self._plan.directory)
        return not (self._plan.require_mount and on_root)

    def _clean(self, rings: dict[str, RingFiles]) -> None:
        for path in [path for files in rings.values() for path in files.leftovers]:
            whose = cleaning.subject(path)
            if whose is None:
                continue
            try:
                with self._backlog.while_idle(whose) as idle:
                    if idle:
                        cleaning.remove_leftover(self._plan.directory, path)
            except OSError as error:
                self._complain(path, f"cannot remove {path}, left half made: {error.strerror}")

    def _complain(self, subject: str, text: str) -> None:
        self._crew.tell(Kind.ARCHIVE_TROUBLE, text, once=(subject, text))

    def _report(self, decision: Decision) -> None:
        self._send_events()
        totals = self._crew.totals
        level = decision.level if self._plan.compress else None
        self._send(
            ArchiveReport(
                turns=self._turns,
                backlog=self._backlog.fresh,
                raw_left=self._backlog.raw,
                indexed=totals.indexed,
                compressed=totals.compressed,
                raw_bytes=totals.raw_bytes,
                compressed_bytes=totals.compressed_bytes,
                paused=decision.paused,
                level=level or 0,
                unmoved=self._mover.waiting,
                wanted=self._mover.wanted,
                moved=self._mover.moved,
                moved_bytes=self._mover.moved_bytes,
                refused=self._mover.refused,
                second=self._plan.second,
            )
        )

    def _send_events(self) -> None:
        while not self._crew.events.empty():
            self._send(self._crew.events.get())

    def _tell(self, kind: Kind, text: str) -> None:
        self._send(Event(kind.name, text, {}))

    def _send(self, message: Message) -> None:
        try:
            self._control.send(encode(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return  # a daemon that does not listen is told the sums later
        except OSError:
            self._leaving = True


def main(control_fd: int) -> None:
    """Receive the plan, however long the daemon takes to tell it, and work."""
    manners.die_with_parent()
    control = socket.socket(fileno=control_fd)
    datagram = control.recv(MAX_MESSAGE)
    if not datagram:  # the daemon has no use for it after all
        return
    start = decode(datagram)
    if not isinstance(start, ArchiveStart):
        raise WorkerError(f"an archive starts with a plan, not with {type(start).__name__}")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file limit is a refused write, not a death
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    archive = Archive(control, start.plan)
    signal.signal(signal.SIGTERM, archive.leave)
    if not archive.run():
        os._exit(0)  # what hangs is in the kernel; what it made is removed by the next one
