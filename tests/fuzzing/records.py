"""Any bytes as what capd reads of its own making: orders and their answers, records, the status.

What must hold: it is understood or refused, in the way that each promises; what was understood is
written as it was read, and can be said in words.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache

from capd import control, holds, losses, status
from capd.daemon import handed
from capd.errors import StorageError, WorkerError
from capd.holds import Hold
from capd.losses import Loss
from capd.names import HANDED_FILE
from tests.fuzzing import refusal
from tests.support.whole import EMPTY, FULL

_HOLD = Hold("0123abcd", 1, 2, ("eth0",), "why", 3, None, "root")
_LOSS = Loss("eth0", "ring", 1, 2, 3, "a cause", change="a change")
_HANDED = handed.Handed({"eth0": ((1, 2), (5, 9))})
_ORDER, _ANSWER, _LOST, _HELD, _DONE, _STATUS = range(6)


def seeds() -> Iterator[bytes]:
    """One of each kind."""
    yield bytes([_ORDER]) + control.encode_request("reload")
    yield bytes([_ANSWER]) + control.encode_answer(control.Answer(done=True, lines=("one", "two")))
    yield bytes([_LOST]) + losses.encode(_LOSS).encode()
    yield bytes([_HELD]) + holds.encode(_HOLD).encode()
    yield bytes([_DONE]) + handed.encode(_HANDED).encode()
    yield from (bytes([_STATUS]) + status.encode(whole).encode() for whole in (EMPTY, FULL))
    yield bytes([_ORDER]) + b"[" * 3000
    yield bytes([_ANSWER]) + b"[" * 3000


def check(data: bytes) -> None:
    """Whichever it is."""
    checks: tuple[Callable[[bytes], None], ...] = (_order, _answer, _lost, _held, _done, _told)
    if data[:1] and data[0] < len(checks):
        checks[data[0]](data[1:])


def _order(content: bytes) -> None:
    order = control.decode_request(content)
    if order is not None:
        assert control.decode_request(control.encode_request(order)) == order


def _answer(content: bytes) -> None:
    try:
        answer = _Daemon.started().asked(content)
    except WorkerError as error:
        refusal.check(error)
        return
    assert _Daemon.started().asked(control.encode_answer(answer)) == answer


def _lost(content: bytes) -> None:
    try:
        loss = losses.decode(content)
    except ValueError:
        return
    assert losses.decode(losses.encode(loss)) == loss
    assert losses.describe(loss)


def _held(content: bytes) -> None:
    try:
        hold = holds.decode(content)
    except ValueError:
        return
    assert holds.decode(holds.encode(hold)) == hold
    assert 0 <= hold.since <= hold.until
    assert holds.describe(hold).isprintable()


def _done(content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        with open(f"{folder}/{HANDED_FILE}", "wb") as file:
            file.write(content)
        try:
            found = handed.read(folder)
        except StorageError:
            return
    assert found is not None
    assert handed.decode(handed.encode(found)).rings == found.rings
    for ring in found.rings:
        found.add(ring, found.last(ring) + 2)
        found.all_but(ring, (1, 2, 7))


def _told(content: bytes) -> None:
    with open(os.memfd_create("status"), "w+b", buffering=0) as file:
        file.write(content)
        try:
            found = status.read(f"/proc/self/fd/{file.fileno()}")
        except StorageError:
            return
    status.decode(status.encode(found))


class _Daemon:
    """A server that answers every order with the same bytes."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = f"{self._folder.name}/control"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self._path)
        self._server.listen()
        self._answer = b""
        threading.Thread(target=self._serve, daemon=True).start()

    @staticmethod
    @cache
    def started() -> _Daemon:
        """The one there is."""
        return _Daemon()

    def asked(self, answer: bytes) -> control.Answer:
        """What a client makes of this answer."""
        self._answer = answer
        return control.ask(self._path, "reload", 10)

    def _serve(self) -> None:
        while True:
            connection, _ = self._server.accept()
            with connection:
                connection.recv(control.MAX_REQUEST)
                connection.sendall(self._answer)
