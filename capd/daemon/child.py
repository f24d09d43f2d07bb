"""One process of capd's, as the daemon looks after it: its socket, its pidfd, its end.

What it says and that it is gone comes through callbacks on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable

from capd.errors import WorkerError
from capd.messages import MAX_MESSAGE, Message, decode, encode


class Child:
    """A running process, until `on_exit` has been called with its exit status."""

    def __init__(
        self,
        pid: int,
        control: int,
        on_message: Callable[[Message], None],
        on_exit: Callable[[int], None],
    ) -> None:
        """`control`: the daemon's end of the socket to it.

        WorkerError if nobody could hear of its end; then it has come to it.
        """
        self.pid, self._control = pid, socket.socket(fileno=control)
        self._on_message = on_message
        self._on_exit = on_exit
        self._control.setblocking(False)  # noqa: FBT003  the library's own signature
        try:
            self._pidfd = self._watch()
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise WorkerError(f"cannot watch over a process: {error.strerror}") from error

    def send(self, message: Message) -> bool:
        """Tell it; False: it is dead, dying or stuck, and its end tells the rest."""
        try:
            self._control.send(encode(message))
        except OSError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Signal its process group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def _watch(self) -> int:
        """Have the loop call; gives the pidfd.  OSError: then nothing is open any more."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            undo.callback(self._control.close)
            pidfd = os.pidfd_open(self.pid)
            undo.callback(os.close, pidfd)
            loop.add_reader(self._control, self._listen)
            undo.callback(loop.remove_reader, self._control)
            loop.add_reader(pidfd, self._reap)
            undo.pop_all()
        return pidfd

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
        _, status = os.waitpid(self.pid, 0)
        self._on_exit(os.waitstatus_to_exitcode(status))
