"""A worker: one ring, one plain loop.

It inherits the ring's socket, so it needs no privilege, and it dies with the daemon.
SIGTERM means "finish the write and leave": the ring fills on for the next worker.  Only
the daemon's `Finish` closes the ring to new packets, drains it to the last one and closes
the segment.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time

from capd import __version__, pcapng, ring
from capd.capture import _pack
from capd.capture.blocks import Blocks
from capd.capture.folder import Folder
from capd.capture.heading import ROOM, WORTH_WAITING
from capd.capture.keeper import Keeper
from capd.capture.placement import Placement
from capd.capture.state import StatePage
from capd.capture.window import SETTLE
from capd.capture.writer import Writer
from capd.errors import WorkerError
from capd.events import Kind
from capd.messages import (
    MAX_MESSAGE,
    Adjust,
    Event,
    Expect,
    Finish,
    Finished,
    Message,
    Missed,
    Plan,
    Report,
    Start,
    decode,
    encode,
)
from capd.units import SECOND, format_count

REPORT_EVERY = SECOND
PATIENCE = 2 * SECOND  # ns for a disk that refuses while the ring is drained
CLOSE_TIMEOUT = 60 * SECOND


class Worker:
    """The loop and what it needs; `run` returns when the worker has to leave."""

    def __init__(self, control: socket.socket, start: Start) -> None:
        plan = self._plan = start.plan
        self._control = control
        self._socket = socket.socket(fileno=start.ring_fd)
        self._blocks = Blocks(start.ring_fd, plan.geometry)
        page = StatePage(start.state_fd, start.ring_fd, ring.cookie(self._socket))
        self._keeper = Keeper(self._open_folder, pcapng.header(plan.source), plan.sync_interval)
        self._writer = Writer(start, self._blocks, page, self._keeper, self._tell)
        self._blocks.locate(self._writer.state.block)
        self._turns = 0
        self._leaving = False
        self._finishing = False
        self._expecting_until = 0  # monotonic ns: how long an Adjust is waited for
        self._rejecting_since = 0  # when the ring was closed to new packets
        self._drain_timeout = 2 * plan.geometry.retire_ms * 10**6 + PATIENCE
        self._next_report = 0
        self._placement = Placement()
        self._place_threads(plan)
        self._keeper.start()
        self._keeper.begin(self._writer.state)
        if start.version not in ("", __version__):
            text = f"the daemon is of capd {start.version} and its worker of {__version__}"
            self._tell(Kind.VERSIONS, f"{text}; for one version of both: systemctl restart capd")

    def run(self) -> None:
        """Capture until told to leave or to finish."""
        controls, everything = self._pollers()
        while not self._leaving:
            self._turns += 1
            # Looked at first: what was said before a block was ready is heard before it is taken.
            ready = self._blocks.ready
            holding = self._writer.holding or self._is_expecting
            poller, wait = (controls, 10) if holding else (everything, 0 if ready else self._idle())
            self._hear(poller.poll(wait))
            self._writer.tend()
            if self._writer.meter.look():
                self._sample()
            if self._finishing and not self._rejecting_since and self._writer.is_complete:
                ring.attach_filter(self._socket, ring.REJECT_ALL)
                self._rejecting_since = time.monotonic_ns()
            if ready and not holding and not self._is_expecting:
                self._writer.take_block()
            elif self._rejecting_since and self._is_drained():
                self._close()
            if time.monotonic_ns() >= self._next_report:
                self._report()

    def leave(self, *_: object) -> None:
        """The handler of SIGTERM: go after the write in progress."""
        self._leaving = True

    def _open_folder(self) -> Folder:
        """As the keeper wants it when it has none, under the plan that holds by then."""
        plan = self._plan
        return Folder(
            plan.directory, plan.source.ring, second=plan.second, require_mount=plan.require_mount
        )

    def _pollers(self) -> tuple[select.poll, select.poll]:
        wake, notify = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(notify)
        controls, everything = select.poll(), select.poll()
        for poller in (controls, everything):
            for source in (wake, self._control, self._keeper.news):
                poller.register(source, select.POLLIN)
        everything.register(self._socket, select.POLLIN)
        return controls, everything

    @property
    def _is_expecting(self) -> bool:
        """Whether the next block has to wait for word of another filter."""
        waits = time.monotonic_ns() < self._expecting_until
        return waits and self._blocks.waiting() <= self._blocks.count * ROOM

    def _hear(self, news: list[tuple[int, int]]) -> None:
        """What the poller found, but for blocks."""
        for fd, events in news:
            if fd == self._control.fileno():
                self._listen()
            elif fd == self._keeper.news:
                os.eventfd_read(fd)
            elif fd == self._socket.fileno() and events & select.POLLERR:
                self._check_socket()

    def _idle(self) -> int:
        """Milliseconds to wait for a block."""
        if self._finishing:
            return 10
        return max(1, (self._next_report - time.monotonic_ns()) // 10**6)

    def _listen(self) -> None:
        datagram = self._control.recv(MAX_MESSAGE)
        if not datagram:
            self._leaving = True
            return
        message = decode(datagram)
        if isinstance(message, Missed):
            self._writer.miss(message.packets)
        expecting = isinstance(message, Expect)
        self._expecting_until = time.monotonic_ns() + WORTH_WAITING if expecting else 0
        if self._finishing or expecting:
            return
        if isinstance(message, Finish):
            self._writer.cut(message.until)
            self._finishing = True
        elif isinstance(message, Adjust) and _place(message.plan) == _place(self._plan):
            self._plan = message.plan
            self._place_threads(message.plan)
            self._writer.adjust(message.plan)
        elif isinstance(message, Adjust):
            text = "another ring or folder takes another worker: a bug; nothing is changed"
            self._tell(Kind.BUG, text)

    def _place_threads(self, plan: Plan) -> None:
        try:
            self._placement.put(plan.cpus)
        except OSError as error:
            wanted = ", ".join(map(str, plan.cpus))
            text = f"cannot run on the processors of cpus ({wanted}): {error.strerror}"
            self._tell(Kind.DOUBT, f"{text}; runs on any")

    def _check_socket(self) -> None:
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error and error != errno.ENETDOWN:  # of links that are down the daemon tells
            self._tell(Kind.LINK_TROUBLE, f"the interface reports: {os.strerror(error)}")

    def _is_drained(self) -> bool:
        """Whether every packet that the kernel accepted is accounted for."""
        waited = time.monotonic_ns() - self._rejecting_since
        if waited < SETTLE:
            return False
        self._writer.count()
        left = self._writer.state.counters.unaccounted
        if self._blocks.ready:
            if waited > self._drain_timeout and self._writer.refused:
                self._writer.give_up(0)
            return False
        if waited <= self._drain_timeout and not self._writer.is_settled:
            return False
        if left and waited > self._drain_timeout:
            self._tell(
                Kind.BUG, f"{format_count(left)} accepted packets never came out of the ring"
            )
            return True
        return left == 0

    def _close(self) -> None:
        deadline = time.monotonic_ns() + CLOSE_TIMEOUT
        self._writer.close()
        while self._keeper.is_alive():
            if time.monotonic_ns() > deadline:
                self._tell(
                    Kind.FILE_TROUBLE, "the last segment could not be closed; it stays a .part file"
                )
                break
            self._keeper.join(0.1)
            if time.monotonic_ns() >= self._next_report:
                self._report()
        self._writer.tend()
        state = self._writer.state
        self._send(Finished(state.counters, state.until))
        self._leaving = True

    def _report(self) -> None:
        # with all others, just before the daemon tells of them: nobody waits twice
        self._next_report = (time.monotonic_ns() // REPORT_EVERY + 1) * REPORT_EVERY
        if not self._keeper.is_alive() and not self._rejecting_since:
            raise WorkerError("the keeper thread has died")
        self._sample()
        state = self._writer.state
        self._send(
            Report(
                turns=self._turns,
                counters=state.counters,
                segment=self._writer.segment,
                segment_bytes=state.segment.length,
                filled=self._blocks.waiting() / self._blocks.count,
                oldest=state.oldest,
                writes=self._writer.meter.writes(),
                samples=self._writer.meter.samples(),
                refusal=self._writer.refusal,
                at=time.time_ns(),
                full=self._writer.full,
            )
        )

    def _sample(self) -> None:
        if not self._rejecting_since:
            self._writer.count()
        self._writer.meter.take(self._writer.state.counters, refused=self._writer.refused)

    def _tell(self, kind: Kind, text: str, **facts: int) -> None:
        self._send(Event(kind.name, text, facts))

    def _send(self, message: Message) -> None:
        try:
            self._control.send(encode(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return  # a daemon that does not listen must not stop the capture
        except OSError:
            self._leaving = True


def _place(plan: Plan) -> tuple[object, ...]:
    """What cannot change while a worker lives."""
    return plan.geometry, plan.directory, plan.source.ring


def main(control_fd: int) -> None:
    """Receive the plan, however long the daemon takes to tell it, and capture."""
    _pack.die_with_parent(signal.SIGKILL)
    control = socket.socket(fileno=control_fd)
    datagram = control.recv(MAX_MESSAGE)
    if not datagram:  # the daemon has no use for it after all
        return
    start = decode(datagram)
    if not isinstance(start, Start):
        raise WorkerError(f"a worker starts with a plan, not with {type(start).__name__}")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file limit is a refused write, not a death
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(control, start)
    signal.signal(signal.SIGTERM, worker.leave)
    worker.run()
