"""The control socket: who may give orders, and that nobody costs the capture anything.

One order a connection, one order at a time.  What the orders do is the service's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from capd.control import MAX_REQUEST, Answer, decode_request, encode_answer
from capd.errors import StorageError

MOST_CONNECTIONS = 16
BACKLOG = 100  # peers that wait to be accepted
PAUSE = 1.0  # seconds until the next one is, while no descriptor is left
REQUEST_TIMEOUT = 2.0  # seconds to say what is wanted
ANSWER_TIMEOUT = 2.0  # seconds to read the answer
LAST_ANSWERS = 2.0  # seconds for answers that are on their way when the daemon ends

_CREDENTIALS = struct.Struct("3i")  # struct ucred
_PEER_GROUPS = 59  # SO_PEERGROUPS of <asm-generic/socket.h>, which Python has no name for
_GROUPS_ASKED = 1024  # bytes, the most that Python asks for; a group has four


class Peer(NamedTuple):
    """Who gives an order."""

    uid: int
    groups: tuple[int, ...]  # its own one first


Order = Callable[[], Awaitable[Answer]]


class ControlServer:
    """Serves orders at a path for as long as its context lasts."""

    def __init__(self, path: str, orders: Mapping[str, Order]) -> None:
        self._path = path
        self._orders = orders
        self._one_at_a_time = asyncio.Lock()
        self._connections: set[asyncio.Task[None]] = set()
        self._socket: socket.socket  # from the context's beginning on
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)  # of a dead daemon: this one holds the lock
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._socket.bind(self._path)
            os.chmod(self._path, 0o660)
            self._socket.listen(BACKLOG)
        except OSError as error:
            raise StorageError(
                f"cannot listen for orders at {self._path}: {error.strerror or error}"
            ) from error
        self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        if self._connections:
            await asyncio.wait(self._connections, timeout=LAST_ANSWERS)

    def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        """One peer; asyncio's own server would say a hundred times a second that none can be."""
        loop = asyncio.get_running_loop()
        try:
            sock, _ = self._socket.accept()
        except BlockingIOError:  # it has gone meanwhile
            return
        except OSError:  # no descriptor is left: it waits for one
            loop.remove_reader(self._socket)
            self._timer = loop.call_later(PAUSE, self._listen)
            return
        if len(self._connections) >= MOST_CONNECTIONS or not _may(_peer(sock)):
            sock.close()
            return
        sock.setblocking(False)  # noqa: FBT003  the library's own signature
        task = loop.create_task(self._serve(sock))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=MAX_REQUEST)
        try:
            request = await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT)
            answer = await self._answer(request)
            writer.write(encode_answer(answer))
            await asyncio.wait_for(writer.drain(), ANSWER_TIMEOUT)
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), ANSWER_TIMEOUT)
        except (OSError, TimeoutError, ValueError):  # ValueError: a line without an end
            writer.transport.abort()

    async def _answer(self, request: bytes) -> Answer:
        name = decode_request(request) if request.endswith(b"\n") else None
        order = self._orders.get(name) if name is not None else None
        if order is None:
            known = ", ".join(sorted(self._orders))
            return Answer(done=False, lines=(f"that is not an order; capd knows: {known}",))
        async with self._one_at_a_time:
            return await order()


def _peer(sock: socket.socket) -> Peer:
    """As the kernel has it, which asks no directory service that could be slow."""
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(found)
    try:
        others = sock.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _GROUPS_ASKED)
    except OSError:  # they are more
        others = b""
    return Peer(uid, (gid, *struct.unpack(f"{len(others) // 4}I", others)))


def _may(peer: Peer) -> bool:
    """Root, the daemon's own user, and the members of its group may give orders."""
    return peer.uid in (0, os.geteuid()) or os.getegid() in peer.groups
