"""One process of capd's, as the daemon looks after it: its socket, its pidfd, its end.

What it says and that it is gone comes through callbacks on the event loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable

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
        """`control`: the daemon's end of the socket to it."""
        self.pid, self._control = pid, socket.socket(fileno=control)
        self._on_message = on_message
        self._on_exit = on_exit
        self._control.setblocking(False)  # noqa: FBT003  the library's own signature
        self._pidfd = os.pidfd_open(self.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._control, self._listen)
        loop.add_reader(self._pidfd, self._reap)

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
