"""Segments of traffic as networks carry it, without a network: what compressors are judged by.

Many flows of TCP and UDP between a few networks, in lengths of an Internet mix.  Some carry
text as programs write it (headers, JSON, logs), some bytes that nothing can compress, as TLS
does, and most of the packets are short and carry nothing.  The same seed gives the same bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from capd import pcapng
from capd.messages import Source
from tests.support.frames import IMIX

START = 1_753_056_000_000_000_000  # ns since 1970: a July morning
GAP = 1500  # ns between packets
MIB = 2**20
_ENHANCED_PACKET = 6
_VOCABULARY = (
    "GET POST HTTP/1.1 Host: User-Agent: Accept-Encoding: gzip, deflate Content-Type: text/html "
    "application/json Cache-Control: max-age=0 Set-Cookie: session path=/ HttpOnly 200 OK 304 "
    '"id": "name": "value": "status": "timestamp": null, true, false, {"items": [ ]} INFO WARN '
    "ERROR connection from refused accepted closed timeout the of and to in is for on with that"
)


class Flow(NamedTuple):
    """One conversation: what stands in front of its payload, and whether it is text."""

    start: bytes
    tcp: bool
    text: bool


class Traffic:
    """An endless sequence of frames."""

    def __init__(self, seed: int = 1, pool: int = 4 * MIB) -> None:
        """`pool`: of how many bytes of text the frames are cut; larger is less alike."""
        self._random = random.Random(seed)
        self._text = self._prose(pool)
        self._flows = [self._flow() for _ in range(500)]

    def frames(self) -> Iterator[bytes]:
        """One after the other."""
        pick, bits = self._random.choice, self._random.getrandbits
        number = 0
        while True:
            flow = pick(self._flows)
            length = IMIX.lengths[number % len(IMIX.lengths)]
            number += 1
            yield self._frame(flow, length, bits(32))

    def _frame(self, flow: Flow, length: int, sequence: int) -> bytes:
        transport = struct.pack(">II", sequence, sequence ^ 0x5A5A5A5A) if flow.tcp else b""
        transport += b"\x50\x18\x20\x00\0\0\0\0" if flow.tcp else struct.pack(">HH", length, 0)
        head = flow.start + transport
        room = max(0, length - len(head))
        if length <= 64:
            return head + bytes(room)
        if flow.text:
            at = self._random.randrange(len(self._text) - room)
            return head + self._text[at : at + room]
        return head + self._random.randbytes(room)

    def _flow(self) -> Flow:
        tcp = self._random.random() < 0.8
        octets = self._random.randbytes(4)
        addresses = bytes([192, 168, octets[0] & 3, octets[1], 10, 20, octets[2] & 7, octets[3]])
        ports = struct.pack(
            ">HH", self._random.randrange(32768, 61000), self._random.choice([53, 80, 443, 5432])
        )
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 576, 0, 0x4000, 64, 6 if tcp else 17, 0)
        ethernet = bytes.fromhex("02000000000b02000000000a0800")
        return Flow(ethernet + ip + addresses + ports, tcp, self._random.random() < 0.5)

    def _prose(self, size: int) -> bytes:
        vocabulary = _VOCABULARY.split()
        weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
        words = self._random.choices(vocabulary, weights, k=size // 5)
        numbers = (str(self._random.getrandbits(24)) for _ in range(size // 40))
        mixed = [word for pair in zip(words[::8], numbers, strict=False) for word in pair] + words
        self._random.shuffle(mixed)
        return " ".join(mixed).encode()


class Written(NamedTuple):
    """What a segment holds."""

    packets: int
    first: int  # ns since 1970
    last: int
    size: int


def packet_block(stamp: int, frame: bytes) -> bytes:
    """An Enhanced Packet Block."""
    padded = frame + bytes(-len(frame) % 4)
    length = 32 + len(padded)
    head = struct.pack(
        "=IIIIIII",
        *(_ENHANCED_PACKET, length, 0, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), len(frame)),
    )
    return head + padded + struct.pack("=I", length)


def head(interface: str = "v0", filter: str = "", snaplen: int = 262144) -> bytes:  # noqa: A002
    """What the segment begins with."""
    return pcapng.header(
        Source(interface, interface, 1, None, filter, 0, snaplen, "host", record_direction=False)
    )


def write_segment(path: Path, size: int, traffic: Traffic, start: int = START) -> Written:
    """A whole segment of about `size` bytes, closed by its statistics."""
    frames, stamp, packets = traffic.frames(), start, 0
    with path.open("wb") as file:
        file.write(head())
        while (written := file.tell()) < size:
            batch = bytearray()
            while len(batch) < min(MIB // 4, size - written):
                stamp += GAP
                batch += packet_block(stamp, next(frames))
                packets += 1
            file.write(batch)
        file.write(pcapng.statistics(stamp, start, stamp, packets, 0, packets))
        return Written(packets, start + GAP, stamp, file.tell())
