"""Random packets of few addresses and ports, in all the wrappings that a filter can ask for.

Headers lie now and then, and a packet may be cut anywhere: what libpcap reads at its fixed
places is what counts, not what a receiver would make of it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from ipaddress import ip_address

V4 = ("10.1.2.3", "10.1.2.200", "10.200.0.1", "192.168.5.6", "0.0.0.0", "255.255.255.255")
V6 = ("2001:db8::1", "2001:db8:0:5::1", "2001:db9::", "fe80::1", "::", "ff02::1")
PORTS = (0, 22, 53, 443, 1023, 1024, 4789, 6081, 40000, 65535)
PROTOCOLS = (6, 6, 17, 17, 17, 132, 1, 58, 50, 47, 255)
EXTENSIONS = (0, 43, 44, 51, 60, 135)
TAGS = (0x8100, 0x88A8, 0x9100)
LINKS = (1, 101, 113, 228, 229, 276)

Typed = tuple[int, bytes]
"""An EtherType and what it tells of."""


def packet(rng: random.Random, link_type: int = 1) -> bytes:
    """One packet of this link."""
    if link_type in {101, 228, 229}:
        made = rng.choice((_ipv4, _ipv6))(rng)[1]
    else:
        made = framed(link_type, _wrapped(rng))
    return _damaged(rng, made)


def plain(rng: random.Random) -> bytes:
    """A whole frame of Ethernet without anything around its network layer."""
    return framed(1, rng.choice(_NETWORK)(rng))


def framed(link_type: int, inner: Typed) -> bytes:
    """With the link's header: Ethernet, or Linux's cooked ones."""
    kind, content = inner
    if link_type == 113:
        return bytes(14) + struct.pack(">H", kind) + content
    if link_type == 276:
        return struct.pack(">H", kind) + bytes(18) + content
    return bytes(12) + struct.pack(">H", kind) + content


def _damaged(rng: random.Random, content: bytes) -> bytes:
    made = bytearray(content)
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        at = rng.randrange(min(len(made), 80))
        made[at] = rng.choice((0, 1, 0x45, 0x46, 0x60, 0xFF, rng.getrandbits(8)))
    if rng.random() < 0.3:
        del made[rng.randrange(len(made) + 1) :]
    return bytes(made)


def _wrapped(rng: random.Random) -> Typed:
    inner = rng.choice(_NETWORK)(rng)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        inner = rng.choice(_WRAPPINGS)(rng, inner)
    return inner


def _ipv4(rng: random.Random) -> Typed:
    options = rng.choice((0, 0, 0, 1, 10))
    fragment = rng.choice((0, 0, 0x4000, 0x2000, 0x0001, 0x1FFF))
    protocol, payload = _payload(rng)
    if rng.random() < 0.1:
        protocol, payload = _authenticated(protocol, payload)
    start = struct.pack(
        ">BBHHHBBH", 0x45 + options, 0, 20 + len(payload), 0, fragment, 64, protocol, 0
    )
    addresses = b"".join(ip_address(rng.choice(V4)).packed for _ in range(2))
    return 0x0800, start + addresses + bytes(4 * options) + payload


def _ipv6(rng: random.Random) -> Typed:
    protocol, payload = _payload(rng)
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        protocol, payload = _extended(rng, protocol, payload)
    start = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    addresses = b"".join(ip_address(rng.choice(V6)).packed for _ in range(2))
    return 0x86DD, start + addresses + payload


def _authenticated(protocol: int, payload: bytes) -> Typed:
    return 51, bytes([protocol, 2]) + bytes(14) + payload


def _extended(rng: random.Random, protocol: int, payload: bytes) -> Typed:
    kind = rng.choice(EXTENSIONS)
    if kind == 51:
        return _authenticated(protocol, payload)
    if kind == 44:
        return 44, struct.pack(">BBHI", protocol, 0, rng.choice((0, 1, 8, 0xFFF8)), 0) + payload
    size = rng.choice((0, 0, 1, 3))
    return kind, bytes([protocol, size]) + bytes(6 + 8 * size) + payload


def _payload(rng: random.Random) -> Typed:
    protocol = rng.choice(PROTOCOLS)
    source, destination = rng.choice(PORTS), rng.choice(PORTS)
    inner = bytes(rng.choice((0, 1, 12, 40)))
    if protocol == 17 and rng.random() < 0.5:
        destination, inner = rng.choice((_geneve, _vxlan))(rng)
    return protocol, struct.pack(">HHHH", source, destination, 8 + len(inner), 0) + inner


def _geneve(rng: random.Random) -> Typed:
    options = rng.choice((0, 1, 63))
    inner = rng.choice(_NETWORK)(rng)
    if rng.random() < 0.5:
        inner = rng.choice((inner, _tag(rng, inner)))
        inner = 0x6558, framed(1, inner)
    kind, content = inner
    header = struct.pack(">BBHI", options, 0, kind, 5 << 8)
    return 6081, header + bytes(4 * options) + content


def _vxlan(rng: random.Random) -> Typed:
    return 4789, struct.pack(">II", 0x08000000, 5 << 8) + framed(1, rng.choice(_NETWORK)(rng))


def _arp(rng: random.Random) -> Typed:
    addresses = [ip_address(rng.choice(V4)).packed for _ in range(2)]
    start = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1)
    return rng.choice((0x0806, 0x8035)), start + bytes(6).join([b"", *addresses])


def _llc(rng: random.Random) -> Typed:
    snap = bytes.fromhex("aaaa03080007809b") if rng.random() < 0.5 else b"\x42\x42\x03"
    return len(snap) + 20, snap + bytes(20)


def _other(rng: random.Random) -> Typed:
    return rng.choice((0x88B5, 0x88CC, 0x8863, rng.randrange(1501, 65536))), rng.randbytes(30)


def _tag(rng: random.Random, inner: Typed) -> Typed:
    return rng.choice(TAGS), struct.pack(">HH", rng.choice((0, 5, 4095)), inner[0]) + inner[1]


def _labels(rng: random.Random, inner: Typed) -> Typed:
    count = rng.choice((1, 1, 2, 4))
    labels = [struct.pack(">I", 100 << 12 | (i == count - 1) << 8 | 64) for i in range(count)]
    return rng.choice((0x8847, 0x8848)), b"".join(labels) + inner[1]


def _session(rng: random.Random, inner: Typed) -> Typed:
    kinds = {0x0800: 0x0021, 0x86DD: 0x0057, 0x8847: 0x0281, 0x8848: 0x0283}
    kind = kinds.get(inner[0], rng.choice((0xC021, 0x0023, 0x002B, 0x8021)))
    return 0x8864, struct.pack(">BBHHH", 0x11, 0, 1, 2 + len(inner[1]), kind) + inner[1]


_NETWORK: tuple[Callable[[random.Random], Typed], ...] = (
    *(_ipv4, _ipv4, _ipv4, _ipv6, _ipv6),
    *(_arp, _llc, _other),
)
_WRAPPINGS: tuple[Callable[[random.Random, Typed], Typed], ...] = (_tag, _tag, _labels, _session)
