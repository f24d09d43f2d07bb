"""Mixed traffic for filters: a bit of everything that pcap-filter(7) can ask for, once each.

The same frames every time, no two alike, in the order of their themes.  What `headers` makes
at random is among them: lies and all.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address

from tests.support import headers
from tests.support.headers import V4, V6, Typed

SHORTEST, LONGEST = 14, 1514
MACS = tuple(bytes.fromhex(f"0200000000{last}") for last in ("0a", "0b", "0c"))
GROUPS = tuple(bytes.fromhex(text) for text in ("ffffffffffff", "01005e000001", "3333ff000001"))
BRIDGES = bytes.fromhex("0180c2000000")
TPIDS = (0x8100, 0x88A8)  # the kernel takes these off
_PORTS = (22, 53, 443, 1023, 1024, 12345, 40000)
_ICMP = ((8, 0), (0, 0), (3, 3), (3, 1), (11, 0), (5, 1), (13, 0), (14, 0))
_ICMP6 = ((128, 0), (129, 0), (135, 0), (136, 0), (133, 0), (1, 4), (143, 0))
_EDGES = (42, 59, 60, 61, 63, 64, 65, 100, 127, 128, 129, 255, 256, 600, 1023, 1024, 1500, 1513)
_RANDOM = 300


@cache
def frames() -> tuple[bytes, ...]:
    """As they are on the wire, tags included, 14 to 1514 bytes each."""
    rng = random.Random(6)
    made = [*_themes(rng), *_random(rng)]
    assert all(SHORTEST <= len(frame) <= LONGEST for frame in made)
    return tuple(dict.fromkeys(made))


def is_tagged(frame: bytes) -> bool:
    """Whether the kernel takes a tag off it."""
    return int.from_bytes(frame[12:14], "big") in TPIDS


def tagged(frame: bytes, tag: tuple[int, int]) -> bytes:
    """With this TPID and TCI in front of its EtherType."""
    return frame[:12] + struct.pack(">HH", *tag) + frame[12:]


def _themes(rng: random.Random) -> Iterator[bytes]:
    for theme in (_flows, _flags_and_types, _sizes, _parts, _resolution, _ipv6, _tunnels):
        plain = [_addressed(rng, packet) for packet in theme(rng)]
        yield from plain
        yield from _with_tags(rng, plain)
    plain = [*_unnumbered(rng)]
    yield from plain
    yield from _with_tags(rng, plain)
    for frame in rng.sample(plain, 12):
        yield from (frame[:length] for length in range(14, min(len(frame), 60), 3))


def _random(rng: random.Random) -> Iterator[bytes]:
    made = 0
    while made < _RANDOM:
        packet = headers.packet(rng)
        # The kernel drops what is too short for the tag that it announces.
        if len(packet) < (20 if is_tagged(packet) else SHORTEST):
            continue
        made += 1
        yield _macs(rng) + packet[12:LONGEST]


def _with_tags(rng: random.Random, plain: list[bytes]) -> Iterator[bytes]:
    """Some of them again behind one tag, and fewer behind two."""
    # The kernel drops what is too short for the tag that it announces.
    fitting = [frame for frame in plain if 16 <= len(frame) <= LONGEST - 8]
    for frame in rng.sample(fitting, len(fitting) // 2):
        yield tagged(frame, _tag(rng, TPIDS))
    for frame in rng.sample(fitting, len(fitting) // 4):
        yield tagged(tagged(frame, _tag(rng, (0x8100, 0x9100))), _tag(rng, TPIDS))


def _tag(rng: random.Random, tpids: tuple[int, ...]) -> tuple[int, int]:
    priority = rng.choice((0, 0, 3, 7)) << 13 | rng.choice((0, 0, 1)) << 12
    return rng.choice(tpids), priority | rng.choice((0, 5, 5, 42, 101, 4095))


def _macs(rng: random.Random) -> bytes:
    return rng.choice(MACS + MACS + GROUPS) + rng.choice(MACS)


def _addressed(rng: random.Random, packet: Typed) -> bytes:
    kind, content = packet
    return _macs(rng) + struct.pack(">H", kind) + content


# What follows gives packets: their EtherType and what it tells of.


def _ipv4(
    rng: random.Random, protocol: int, payload: bytes, *, part: int = 0x4000, options: int = 0
) -> Typed:
    source, destination = (ip_address(each).packed for each in rng.choices(V4, k=2))
    start = struct.pack(
        *(">BBHHHBBH", 0x45 + options, rng.choice((0, 0, 0xB8)), 20 + 4 * options + len(payload)),
        *(rng.randrange(65536), part, rng.choice((1, 63, 64, 64, 128)), protocol, 0),
    )
    return 0x0800, start + source + destination + b"\x94\4\0\0" * options + payload


def _next(rng: random.Random, protocol: int, payload: bytes) -> Typed:
    source, destination = (ip_address(each).packed for each in rng.choices(V6, k=2))
    label = rng.choice((0, 0, 0x12345)) | rng.choice((0, 0x2E)) << 22 | 6 << 28
    start = struct.pack(">IHBB", label, len(payload), protocol, rng.choice((1, 64, 255)))
    return 0x86DD, start + source + destination + payload


def _either(rng: random.Random, protocol: int, payload: bytes) -> Typed:
    return rng.choice((_ipv4, _ipv4, _next))(rng, protocol, payload)


def _tcp(rng: random.Random, flags: int, options: int = 0, payload: bytes = b"") -> bytes:
    ports = rng.choice(_PORTS), rng.choice(_PORTS)
    numbers = rng.getrandbits(32), rng.getrandbits(32)
    rest = (5 + options) << 4, flags, 0x2000, 0, 0
    return struct.pack(">HHIIBBHHH", *ports, *numbers, *rest) + b"\1" * 4 * options + payload


def _udp(rng: random.Random, payload: bytes, port: int | None = None) -> bytes:
    source, destination = rng.choices(_PORTS, k=2)
    return struct.pack(">HHHH", source, port or destination, 8 + len(payload), 0) + payload


def _sctp(rng: random.Random) -> bytes:
    chunk = struct.pack(">BBH", rng.choice((0, 1, 3)), 0, 16) + rng.randbytes(12)
    return struct.pack(">HHII", *rng.choices(_PORTS, k=2), rng.getrandbits(32), 0) + chunk


def _flows(rng: random.Random) -> Iterator[Typed]:
    for number in range(120):
        yield _either(rng, 6, _tcp(rng, rng.choice((0x02, 0x12, 0x10, 0x18)), number % 3))
        yield _either(rng, 17, _udp(rng, bytes([number]) * (number % 30)))
        if number % 4 == 0:
            yield _either(rng, 132, _sctp(rng))


def _flags_and_types(rng: random.Random) -> Iterator[Typed]:
    for flags in range(256):
        if flags % 5 == 0 or flags.bit_count() == 1:
            yield _either(rng, 6, _tcp(rng, flags, 0, b"GET /" if flags & 8 else b""))
    for kind, code in _ICMP:
        yield _ipv4(rng, 1, struct.pack(">BBHI", kind, code, 0, rng.getrandbits(32)) + bytes(20))
    for kind, code in _ICMP6:
        yield _next(rng, 58, struct.pack(">BBHI", kind, code, 0, rng.getrandbits(32)) + bytes(20))
    for protocol, first in ((2, 0x11), (2, 0x16), (9, 0x11), (103, 0x20), (112, 0x21), (89, 2)):
        yield _ipv4(rng, protocol, bytes([first, 7]) + rng.randbytes(10))
    for protocol in (47, 50, 51, 255, 0, 136):
        yield _either(rng, protocol, bytes([6, 2]) + rng.randbytes(26))


def _sizes(rng: random.Random) -> Iterator[Typed]:
    for length in (*_EDGES, LONGEST):
        yield _ipv4(rng, 17, _udp(rng, bytes(length - 42)))
        if length >= 62:
            yield _next(rng, 17, _udp(rng, rng.randbytes(length - 62)))
    for length in range(20):
        yield 0x88B5, rng.randbytes(length)


def _parts(rng: random.Random) -> Iterator[Typed]:
    """Fragments: first, middle, last; and options before what is not."""
    for protocol, payload in ((17, _udp(rng, bytes(16))), (6, _tcp(rng, 2)), (1, bytes([8, 0, 0]))):
        for part in (0x2000, 0x2001, 0x20B9, 0x0001, 0x00B9, 0x1FFF, 0x8000, 0x0000):
            yield _ipv4(rng, protocol, payload, part=part)
            yield _ipv4(rng, protocol, payload, part=part, options=rng.choice((1, 5, 10)))
        for offset in (0, 1, 8, 0xFFF8, 0xFFF9):
            fragment = struct.pack(">BBHI", protocol, 0, offset, rng.getrandbits(32))
            yield _next(rng, 44, fragment + payload)


def _resolution(rng: random.Random) -> Iterator[Typed]:
    for kind, operation in ((0x0806, 1), (0x0806, 2), (0x8035, 3), (0x8035, 4)):
        for size in (0, 18):
            for source, destination in zip(V4, reversed(V4), strict=True):
                ends = (
                    MACS[0] + ip_address(source).packed,
                    bytes(6) + ip_address(destination).packed,
                )
                start = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation)
                yield kind, start + b"".join(ends) + bytes(size)


def _ipv6(rng: random.Random) -> Iterator[Typed]:
    """Extension headers, one and two; and one host that talks to itself."""
    kind, content = _next(rng, 17, _udp(rng, b"echo"))
    yield kind, content[:8] + 2 * ip_address(V6[0]).packed + content[40:]
    transports = ((6, _tcp(rng, 2)), (17, _udp(rng, b"content")), (58, bytes([128, 0]) + bytes(6)))
    for outer in (0, 43, 60, 51, 50, 135):
        for protocol, payload in transports:
            inner = bytes([protocol, 0]) + bytes(6) + payload
            yield _next(rng, outer, inner)
            yield _next(rng, 60, bytes([outer, 0]) + bytes(6) + inner)


def _tunnels(rng: random.Random) -> Iterator[Typed]:
    for _ in range(6):
        for inner in (
            _ipv4(rng, 6, _tcp(rng, 2)),
            _ipv4(rng, 17, _udp(rng, b"in")),
            _next(rng, 6, _tcp(rng, 2)),
        ):
            yield from _labelled(inner)
            yield from _over_ppp(rng, inner)
            yield _ipv4(rng, 4 if inner[0] == 0x0800 else 41, inner[1])
            yield _ipv4(rng, 47, struct.pack(">HH", 0, inner[0]) + inner[1])
            yield from _over_udp(rng, inner)
    for code in (0x09, 0x07, 0x19, 0x65, 0xA7):
        yield 0x8863, struct.pack(">BBHH", 0x11, code, 0, 4) + bytes(4)


def _labelled(inner: Typed) -> Iterator[Typed]:
    for kind, labels in (
        (0x8847, (100,)),
        (0x8847, (16,)),
        (0x8847, (100, 200)),
        (0x8848, (16, 100)),
        (0x8847, (3, 4, 5)),
    ):
        last = len(labels) - 1
        stack = [label << 12 | (at == last) << 8 | 64 for at, label in enumerate(labels)]
        yield kind, struct.pack(f">{len(stack)}I", *stack) + inner[1]


def _over_ppp(rng: random.Random, inner: Typed) -> Iterator[Typed]:
    protocol = {0x0800: 0x0021, 0x86DD: 0x0057}[inner[0]]
    for session in (1, 7):
        length = 2 + len(inner[1])
        yield 0x8864, struct.pack(">BBHHH", 0x11, 0, session, length, protocol) + inner[1]
    yield 0x8864, struct.pack(">BBHHHBB", 0x11, 0, 1, 6, 0xC021, 9, rng.getrandbits(8)) + bytes(4)


def _over_udp(rng: random.Random, inner: Typed) -> Iterator[Typed]:
    ethernet = headers.framed(1, inner)
    for network in (5, 6):
        for options in (0, 2):
            start = struct.pack(">BBHI", options, 0, inner[0], network << 8) + bytes(4 * options)
            yield _either(rng, 17, _udp(rng, start + inner[1], 6081))
            start = start[:2] + b"\x65\x58" + start[4:]
            carried = rng.choice((ethernet, tagged(ethernet, (0x8100, 5))))
            yield _either(rng, 17, _udp(rng, start + carried, 6081))
    yield _either(rng, 17, _udp(rng, struct.pack(">II", 0x08000000, 5 << 8) + ethernet, 4789))


def _unnumbered(rng: random.Random) -> Iterator[bytes]:
    """What is not IP: other protocols by EtherType, and 802.3 with LLC and SNAP."""
    for kind in (0x6001, 0x6002, 0x6003, 0x6004, 0x6007, 0x809B, 0x80F3, 0x8137, 0x88CC, 0x9000):
        yield _macs(rng) + struct.pack(">H", kind) + rng.randbytes(46)
    long = "06" + "00" * 6 + "0f28" + "00" * 6 + "0a28"
    for start in ("020f280a28", "020a280f28", long):  # DECnet: 10.15 is 0x280f, low byte first
        yield _macs(rng) + b"\x60\x03" + struct.pack("<H", 20) + bytes.fromhex(start) + bytes(20)
    for control in (
        0x00,
        0x02,
        0x01,
        0x05,
        0x09,
        0x03,
        0x13,
        0x63,
        0x43,
        0x0F,
        0x6F,
        0xE3,
        0xAF,
        0xBF,
        0x87,
    ):
        for access in (b"\xe0\xe0", b"\xf0\xf0", b"\x42\x42", b"\x06\x06"):
            content = access + bytes([control]) + rng.randbytes(rng.choice((3, 43)))
            yield _macs(rng) + struct.pack(">H", len(content)) + content
    yield BRIDGES + MACS[0] + b"\x00\x26\x42\x42\x03" + bytes(35)
    for discriminator in (0x81, 0x82, 0x83):
        for kind in (15, 16, 17, 18, 20, 24, 25, 26, 27):
            content = b"\xfe\xfe\x03" + bytes([discriminator, 27, 1, 0, kind]) + rng.randbytes(30)
            yield _macs(rng) + struct.pack(">H", len(content)) + content
    for organization, kind in (
        (0x080007, 0x809B),
        (0, 0x80F3),
        (0, 0x0800),
        (0, 0x8137),
        (0xF8, 0),
    ):
        snap = b"\xaa\xaa\x03" + organization.to_bytes(3, "big") + struct.pack(">H", kind)
        yield _macs(rng) + struct.pack(">H", 48) + snap + rng.randbytes(40)
    yield _macs(rng) + struct.pack(">H", 44) + b"\xff\xff" + rng.randbytes(42)
