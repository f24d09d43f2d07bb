"""Numbered frames whose every byte is known beforehand.

A `Stream` is an endless sequence of Ethernet/IPv4/UDP frames.  Frame `number` differs
from its neighbours in length (the stream's shape), in its UDP source port (one of
`FLOWS`) and in the number itself: the first eight bytes of the UDP payload, big endian.
The other payload bytes are the same in every frame and differ by position.  All lengths
are in bytes on the wire without the frame check sequence.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cached_property

SOURCE_MAC = bytes.fromhex("02000000000a")
OTHER_HOST_MAC = bytes.fromhex("02000000000b")  # nobody's: the stack drops it behind the tap
SOURCE_ADDRESS = bytes([192, 0, 2, 1])
DESTINATION_ADDRESS = bytes([198, 51, 100, 1])
FLOWS = 16
FIRST_SOURCE_PORT = 40000  # frame n comes from port 40000 + n % 16
DESTINATION_PORT = 9

ADDRESSES_SIZE = 12
IPV4_SIZE = 20
UDP_SIZE = 8
NUMBER_SIZE = 8
UNTAGGED_HEADERS_SIZE = ADDRESSES_SIZE + 2 + IPV4_SIZE + UDP_SIZE
SHORTEST = 60
LONGEST = 3000  # the kernel keeps a live frame and its bookkeeping in one page

Tag = tuple[int, int]
"""One VLAN tag as it stands in the frame: TPID, TCI."""


@dataclass(frozen=True)
class Shape:
    """The lengths that a stream repeats, of frames without tags."""

    name: str
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.lengths or not all(SHORTEST <= n <= LONGEST for n in self.lengths):
            raise ValueError(f"shape {self.name}: lengths are {SHORTEST} to {LONGEST} bytes")

    @staticmethod
    def fixed(length: int) -> Shape:
        """Frames of one length."""
        return Shape(str(length), (length,))

    @staticmethod
    def parse(text: str) -> Shape:
        """The shape called `imix`, or a number of bytes."""
        return IMIX if text == IMIX.name else Shape.fixed(int(text))


IMIX = Shape("imix", (60, 590, 60, 590, 60, 1514, 60, 590, 60, 590, 60, 60))
"""Seven of 60, four of 590 and one of 1514: a simple Internet mix."""


@dataclass(frozen=True)
class Stream:
    """An endless sequence of frames, numbered from `first`, each carrying `tags`."""

    shape: Shape
    tags: tuple[Tag, ...] = ()
    first: int = 0

    @cached_property
    def number_offset(self) -> int:
        """Where in a frame its number stands."""
        return UNTAGGED_HEADERS_SIZE + 4 * len(self.tags)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """The repeated lengths, tags included."""
        return tuple(n + 4 * len(self.tags) for n in self.shape.lengths)

    def length(self, number: int) -> int:
        """The length of frame `number`, tags included."""
        return self.lengths[number % len(self.lengths)]

    def expected(self, number: int) -> bytes:
        """Frame `number` as it was on the wire, tags included."""
        before, after = self.around_number[number % self.period]
        return before + number.to_bytes(NUMBER_SIZE, "big") + after

    def number_in(self, frame: bytes) -> int | None:
        """The number that a frame claims, None if it is too short to hold one."""
        field = frame[self.number_offset : self.number_offset + NUMBER_SIZE]
        return int.from_bytes(field, "big") if len(field) == NUMBER_SIZE else None

    @cached_property
    def period(self) -> int:
        """After how many frames everything but the number repeats."""
        return math.lcm(len(self.shape.lengths), FLOWS)

    @cached_property
    def around_number(self) -> list[tuple[bytes, bytes]]:
        """What stands before and after the number, by number modulo `period`."""
        return [
            (
                self.headers(self.length(i), FIRST_SOURCE_PORT + i % FLOWS),
                _payload(self.length(i) - self.number_offset)[NUMBER_SIZE:],
            )
            for i in range(self.period)
        ]

    def headers(self, length: int, source_port: int) -> bytes:
        """All that stands before the number in a frame of `length` bytes."""
        tags = b"".join(struct.pack(">HH", *tag) for tag in self.tags)
        datagram = length - ADDRESSES_SIZE - len(tags) - 2
        ports = (source_port, DESTINATION_PORT)
        return (
            OTHER_HOST_MAC
            + SOURCE_MAC
            + tags
            + b"\x08\x00"
            + ipv4_header(datagram)
            + struct.pack(">HHHH", *ports, datagram - IPV4_SIZE, 0)
        )


def ipv4_header(total: int) -> bytes:
    """The IPv4 header of a UDP packet of `total` bytes, its checksum right."""
    start = struct.pack(">BBHHHBB", 0x45, 0, total, 0, 0x4000, 64, 17)
    addresses = SOURCE_ADDRESS + DESTINATION_ADDRESS
    words = struct.unpack(">9H", start + addresses)
    carried = sum(words)
    while carried > 0xFFFF:
        carried = (carried & 0xFFFF) + (carried >> 16)
    return start + struct.pack(">H", 0xFFFF - carried) + addresses


def _payload(size: int) -> bytes:
    return bytes((31 * position + 7) % 251 for position in range(size))
