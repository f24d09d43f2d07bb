"""The driver of an interface, and what only that driver counts (`ethtool -i`, `ethtool -S`).

pyroute2 reads them too, but over an Internet socket, which the unit's confinement forbids; these
requests work on any socket.  Structures and numbers: <linux/ethtool.h>, <linux/sockios.h>.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct

SIOCETHTOOL = 0x8946
ETHTOOL_GDRVINFO = 0x03
ETHTOOL_GSTRINGS = 0x1B
ETHTOOL_GSTATS = 0x1D
ETH_SS_STATS = 1

_GSTRING_LEN = 32
# Room for counters that come between two requests: the kernel asks nobody how many fit.
_MORE = 4096
_DRVINFO = struct.Struct("=I32s32s32s32s32s12sIIIII")


class Ethtool:
    """One interface, by its name; asking takes the kernel's lock on all interfaces (rtnl)."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._names: list[str] = []  # of its statistics

    def driver(self) -> str | None:
        """The driver's name; None where it does not say."""
        try:
            name, _ = self._information()
        except OSError:
            return None
        return name

    def statistics(self) -> list[tuple[str, int]]:
        """Its own counters by its own names; [] where it has none, is gone, or changes just now."""
        try:
            _, count = self._information()
            if count != len(self._names):
                self._names = self._strings(count)
            request = struct.pack("=II", ETHTOOL_GSTATS, count)
            answer = self._ask(request, 8 * (2 * count + _MORE))
        except OSError:
            return []
        (given,) = struct.unpack_from("=I", answer, 4)
        if given != len(self._names):  # they are others since they were named
            self._names = []
            return []
        values = struct.unpack_from(f"={count}Q", answer, len(request))
        return list(zip(self._names, values, strict=True))

    def _information(self) -> tuple[str, int]:
        """The driver's name, and how many counters of its own it has."""
        answer = self._ask(struct.pack("=I", ETHTOOL_GDRVINFO), _DRVINFO.size - 4)
        _, driver, _, _, _, _, _, _, counters, *_ = _DRVINFO.unpack(answer)
        return _text(driver), counters

    def _strings(self, count: int) -> list[str]:
        request = struct.pack("=III", ETHTOOL_GSTRINGS, ETH_SS_STATS, count)
        answer = self._ask(request, _GSTRING_LEN * (2 * count + _MORE))
        (given,) = struct.unpack_from("=I", answer, 8)
        begins = range(len(request), len(request) + _GSTRING_LEN * given, _GSTRING_LEN)
        return [_text(answer[at : at + _GSTRING_LEN]) for at in begins] if given == count else []

    def _ask(self, request: bytes, room: int) -> bytes:
        """The request with the answer behind it.  OSError."""
        buffer = array.array("B", request + bytes(room))
        address, _ = buffer.buffer_info()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", self._name, address))
        return buffer.tobytes()


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode(errors="replace")
