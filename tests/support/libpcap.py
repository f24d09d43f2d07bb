"""libpcap itself over single packets: a filter as `tcpdump -r` understands it."""

from __future__ import annotations

import ctypes
import ctypes.util
import struct
from functools import cache

SNAPLEN = 262144
_UNKNOWN_NETMASK = 0xFFFFFFFF
_DLT = {101: 12}  # of the link types used in tests, the only one with another number
_HEADER = struct.Struct("=QQII")  # struct pcap_pkthdr: struct timeval, caplen, len


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libpcap.so.0.8", use_errno=True)
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_geterr.restype = ctypes.c_char_p
    library.pcap_geterr.argtypes = [ctypes.c_void_p]
    library.pcap_compile.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(_Program),
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint32,
    ]
    library.pcap_offline_filter.argtypes = [
        ctypes.POINTER(_Program),
        ctypes.c_char_p,
        ctypes.c_char_p,
    ]
    return library


@cache
def _handle(link_type: int) -> int:
    handle: int = _library().pcap_open_dead(_DLT.get(link_type, link_type), SNAPLEN)
    return handle


@cache
def compiled(text: str, link_type: int) -> _Program:
    """The program of a filter.  ValueError: libpcap does not take it."""
    program = _Program()
    handle = _handle(link_type)
    if _library().pcap_compile(handle, program, text.encode(), 1, _UNKNOWN_NETMASK) != 0:
        raise ValueError(f"{text}: {_library().pcap_geterr(handle).decode()}")
    return program


def matches(text: str, link_type: int, packet: bytes) -> bool:
    """Whether the filter takes a packet of which all that is there was captured."""
    header = _HEADER.pack(0, 0, len(packet), len(packet))
    program = compiled(text, link_type)
    return bool(_library().pcap_offline_filter(program, header, packet))
