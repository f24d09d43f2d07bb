"""What the kernel says of filters: a packet socket for each, on one live interface."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from capd.errors import FilterError
from capd.filter import FilterRequest, compile_filters
from capd.ring import ETH_P_ALL, SOL_PACKET, attach_filter
from tests.support.net import inside

_LONGEST = 2**16
_ROOM = 64 * 2**20  # of a socket's queue; what it holds is shared with all the others
_CLOSERS = 64  # threads
_SO_RCVBUFFORCE = 33  # <asm-generic/socket.h>
# <linux/if_packet.h>
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
_VLAN_VALID = 1 << 4


class Taps:
    """Sockets that receive from an interface what each one's filter accepts, from now on."""

    def __init__(self, namespace: str, interface: str, filters: Sequence[str]) -> None:
        """FilterError if one cannot be compiled."""
        programs = compile_filters([FilterRequest(text, 1, _LONGEST) for text in filters])
        self._sockets: dict[str, socket.socket] = {}
        with ExitStack() as stack, inside(namespace):
            for text, program in zip(filters, programs, strict=True):
                if isinstance(program, FilterError):
                    raise program
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                self._sockets[text] = stack.enter_context(sock)
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
                sock.setsockopt(SOL_PACKET, _PACKET_AUXDATA, 1)
                try:
                    attach_filter(sock, program)
                except OSError as error:
                    raise OSError(error.errno, f"{text!r}: {error.strerror}") from error
                sock.bind((interface, ETH_P_ALL))
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """All at once: for each one the kernel waits until no processor can still see it."""
        with ThreadPoolExecutor(_CLOSERS) as pool:
            list(pool.map(socket.socket.close, self._sockets.values()))

    def take(self) -> dict[str, list[bytes]]:
        """By filter, the frames that have come since the last time, their tags put back."""
        return {text: list(_received(sock)) for text, sock in self._sockets.items()}

    def dropped(self) -> list[str]:
        """The filters whose sockets had no room for a frame, since the last time."""
        return [text for text, sock in self._sockets.items() if _drops(sock)]


def _received(sock: socket.socket) -> Iterable[bytes]:
    room = socket.CMSG_SPACE(_AUXDATA.size)
    while True:
        try:
            frame, ancillary, _, _ = sock.recvmsg(_LONGEST, room, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        ((_, _, auxiliary),) = ancillary
        status, _, _, _, _, tci, tpid = _AUXDATA.unpack(auxiliary[: _AUXDATA.size])
        if status & _VLAN_VALID:
            frame = frame[:12] + struct.pack(">HH", tpid, tci) + frame[12:]
        yield frame


def _drops(sock: socket.socket) -> int:
    """What PACKET_STATISTICS counts; reading sets it to zero."""
    statistics = sock.getsockopt(SOL_PACKET, _PACKET_STATISTICS, 8)
    drops: int = struct.unpack("=II", statistics)[1]
    return drops
