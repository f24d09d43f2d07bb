"""A socket in place of journald's, which reads the journal's own protocol."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

from capd.journal import catch_up


class Journal:
    """It takes messages only while somebody reads."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def read(self) -> list[dict[str, str]]:
        """All messages that wait, here and there, by the journal's own protocol."""
        found = []
        while waiting := self._receive():
            found += waiting
            catch_up()
        return found

    def close(self) -> None:
        """As a journald that ends."""
        self._socket.close()

    def _receive(self) -> list[dict[str, str]]:
        found = []
        try:
            while True:
                found.append(dict(self._fields(self._socket.recv(1 << 20))))
        except BlockingIOError:
            return found

    def _fields(self, message: bytes) -> Iterator[tuple[str, str]]:
        while message:
            line, message = message.split(b"\n", 1)
            name, plain, value = line.partition(b"=")
            if not plain:
                length = int.from_bytes(message[:8], "little")
                value, end = message[8 : 8 + length], message[8 + length : 9 + length]
                message = message[9 + length :]
                assert end == b"\n"
            yield name.decode(), value.decode()
