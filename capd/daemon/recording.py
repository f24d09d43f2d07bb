"""One ring being captured, as the daemon sees it: its socket, its state page, its worker.

The daemon opens the ring and keeps it; the worker inherits both descriptors.  Nothing
here reads a packet.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable

from capd import ring
from capd.daemon.plans import RingPlan
from capd.errors import WorkerError
from capd.messages import (
    MAX_MESSAGE,
    Counters,
    Event,
    Finish,
    Finished,
    Message,
    Report,
    Start,
    decode,
    encode,
)

STATE_PAGE = 4096  # bytes
SEND_BUFFER = 1024 * 1024  # bytes of reports that may wait for the daemon

Tell = Callable[[str, str], None]  # level, text


class Recording:
    """A ring and its worker, from `start` until `ended`."""

    def __init__(self, wanted: RingPlan, tell: Tell) -> None:
        """Open the ring; packets gather in it from here on.  RingError."""
        self.wanted = wanted
        self.report: Report | None = None
        self.finished: Finished | None = None
        self.ended = asyncio.Event()
        self.exit_status: int | None = None
        self._tell = tell
        plan = wanted.plan
        self._socket = ring.open_ring(
            plan.source.interface,
            plan.geometry,
            wanted.program,
            promiscuous=wanted.promiscuous,
        )
        self._state = os.memfd_create(f"capd-{wanted.name}", os.MFD_CLOEXEC)
        os.ftruncate(self._state, STATE_PAGE)

    @property
    def name(self) -> str:
        """The ring's name."""
        return self.wanted.name

    @property
    def counters(self) -> Counters:
        """The newest that the worker told."""
        if self.finished is not None:
            return self.finished.counters
        return self.report.counters if self.report is not None else Counters()

    def start(self) -> None:
        """Spawn the worker and send it its plan.  WorkerError, and the ring is closed again."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.setblocking(False)  # noqa: FBT003  the library's own signature
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        with theirs:
            inherited = (theirs.fileno(), self._socket.fileno(), self._state)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-m", "capd.capture", str(theirs.fileno())],
                    pass_fds=inherited,
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                )
            except OSError as error:
                control.close()
                self.close()
                raise WorkerError(f"cannot start a worker: {error.strerror}") from error
        self._control = control
        control.send(encode(Start(self.wanted.plan, self._socket.fileno(), self._state)))
        self._exit = os.pidfd_open(self._process.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(control, self._listen)
        loop.add_reader(self._exit, self._reap)

    def finish(self) -> None:
        """Let the worker drain the ring, close its segment and leave."""
        self._send(Finish())

    def close(self) -> None:
        """Let go of the ring and its state page: what is still in the ring is gone."""
        self._socket.close()
        os.close(self._state)

    def _send(self, message: Message) -> None:
        try:
            self._control.send(encode(message))
        except OSError as error:  # it is dead or dying; its exit tells the rest
            self._tell("warning", f"cannot reach the worker: {error.strerror}")

    def _listen(self) -> None:
        """Take in what the worker has sent."""
        while True:
            try:
                datagram = self._control.recv(MAX_MESSAGE)
            except BlockingIOError:
                return
            except ConnectionResetError:
                datagram = b""
            if not datagram:
                asyncio.get_running_loop().remove_reader(self._control)
                return
            message = decode(datagram)
            if isinstance(message, Report):
                self.report = message
            elif isinstance(message, Event):
                self._tell(message.level, message.text)
            elif isinstance(message, Finished):
                self.finished = message

    def _reap(self) -> None:
        self._listen()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._exit)
        loop.remove_reader(self._control)
        os.close(self._exit)
        self._control.close()
        self.exit_status = self._process.wait()
        self.ended.set()
