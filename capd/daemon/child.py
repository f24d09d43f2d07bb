"""One worker process, as the daemon holds it: its socket, its pidfd, its end.

It is started with the ring and the state page inherited, in a process group of its own, and
told its plan.  What it says and that it is gone comes through callbacks on the event loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

from capd.errors import WorkerError
from capd.messages import MAX_MESSAGE, Message, Plan, Start, decode, encode

SEND_BUFFER = 1024 * 1024  # bytes of reports that may wait for the daemon


class Child:
    """A running worker, until `on_exit` has been called with its exit status."""

    def __init__(
        self,
        plan: Plan,
        ring_fd: int,
        state_fd: int,
        on_message: Callable[[Message], None],
        on_exit: Callable[[int], None],
    ) -> None:
        """Spawn it; WorkerError when it cannot be."""
        self._on_message = on_message
        self._on_exit = on_exit
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)  # noqa: FBT003  the library's own signature
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-m", "capd.capture", str(theirs.fileno())],
                    pass_fds=(theirs.fileno(), ring_fd, state_fd),
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                )
            except OSError as error:
                self._control.close()
                raise WorkerError(f"cannot start a worker: {error.strerror}") from error
        self._pidfd = os.pidfd_open(self._process.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._control, self._listen)
        loop.add_reader(self._pidfd, self._reap)
        self.send(Start(plan, ring_fd, state_fd))

    def send(self, message: Message) -> None:
        """Tell it; one that is dead or dying does not hear, and its end tells the rest."""
        try:
            self._control.send(encode(message))
        except OSError:
            return

    def signal(self, number: signal.Signals) -> None:
        """Signal its process group."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _listen(self) -> None:
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
            self._on_message(decode(datagram))

    def _reap(self) -> None:
        self._listen()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        loop.remove_reader(self._control)
        os.close(self._pidfd)
        self._control.close()
        self._on_exit(self._process.wait())
