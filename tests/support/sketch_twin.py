"""A slow twin of `_sketch.c` and `_dissect.c`: the bytes of a sketch, from packets.

Written from the RFCs and from capd/sketch.py's docstring: headers as layers that follow
one another, what was seen as sets of Python's.  It is part of the oracle survey_twin.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

IPV4, IPV6, ETHERNET_INSIDE = 0x0800, 0x86DD, 0x6558
ARPS = {0x0806, 0x8035}
TAGS = {0x8100, 0x88A8, 0x9100}
LABELS = {0x8847, 0x8848}
SESSION = 0x8864
OF_PPP = {0x0021: IPV4, 0x0057: IPV6, 0x0281: 0x8847, 0x0283: 0x8848}
PORTED = {6, 17, 132}
OPTIONS_LIKE = {0, 43, 60, 135, 139, 140}  # a length in units of 8 bytes, the first not counted
MOST_KEYS, ROOM = 16384, 8192
WORD, LONG = 2**32 - 1, 2**64 - 1

Key = tuple[int, int, int]
"""IP version, prefix length, network shifted right so that only the prefix is left."""
Layer = tuple[int, bytes]
"""An EtherType and what follows."""


@dataclass
class Seen:
    """All that packets had in them."""

    types: set[int] = field(default_factory=set)
    protocols: set[int] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    keys: set[Key] = field(default_factory=set)
    tagged: bool = False
    fragmented: bool = False
    strange_ppp: bool = False

    def address(self, captured: bytes, size: int) -> None:
        """The part of an address of `size` bytes that is there."""
        words = len(captured) // 4 * 32
        version, prefixes = (4, (8, 16, 24, 32)) if size == 4 else (6, (32, 48, 64, 128))
        number = int.from_bytes(captured.ljust(size, b"\0"), "big")
        whole = {p for p in prefixes if -(-p // 32) * 32 <= words}
        self.keys |= {(version, p, number >> size * 8 - p) for p in whole}


def sketch(link_type: int, packets: Iterable[bytes]) -> bytes:
    """The bytes; b"" for a link whose packets are not read."""
    if link_type not in _LINKS:
        return b""
    seen = Seen()
    for packet in packets:
        layer = _LINKS[link_type](packet)
        while layer is not None:
            layer = _inside(*layer, seen)
    return _encoded(seen)


def _typed(content: bytes, at: int, then: int) -> Layer | None:
    field_ = content[at : at + 2]
    return (int.from_bytes(field_, "big"), content[then:]) if len(field_) == 2 else None


_LINKS: dict[int, Callable[[bytes], Layer | None]] = {
    1: lambda packet: _typed(packet, 12, 14),
    113: lambda packet: _typed(packet, 14, 16),
    276: lambda packet: _typed(packet, 0, 20),
    228: lambda packet: (IPV4, packet),
    229: lambda packet: (IPV6, packet),
    101: lambda packet: (IPV6 if packet[:1] and packet[0] >> 4 == 6 else IPV4, packet),
}


def _inside(kind: int, content: bytes, seen: Seen) -> Layer | None:
    """Takes note of one layer; the next one of which the EtherType is known."""
    if kind <= 1500:
        snap = _typed(content, 6, 8)
        if content[:2] == b"\xaa\xaa" and snap is not None:
            seen.types.add(snap[0])
        return None
    seen.types.add(kind)
    if kind in ARPS:
        for place in (14, 24):
            seen.address(content[place : place + 4], 4)
    if kind in TAGS:
        seen.tagged = True
        return _typed(content, 2, 4)
    if kind in LABELS:
        return _behind_labels(content)
    if kind == SESSION:
        return _in_session(content, seen)
    if kind == IPV4:
        return _ipv4(content, seen)
    return _ipv6(content, seen) if kind == IPV6 else None


def _behind_labels(content: bytes) -> Layer | None:
    while len(content) > 4:
        label, content = content[:4], content[4:]
        if label[2] % 2:
            kind = {4: IPV4, 6: IPV6}.get(content[0] >> 4)
            return None if kind is None else (kind, content)
    return None


def _in_session(content: bytes, seen: Seen) -> Layer | None:
    layer = _typed(content, 6, 8)
    if layer is None or layer[0] in OF_PPP:
        return layer and (OF_PPP[layer[0]], layer[1])
    seen.types.add(layer[0])
    seen.strange_ppp |= layer[0] < 0x4000
    return None


def _ipv4(content: bytes, seen: Seen) -> Layer | None:
    seen.address(content[12:16], 4)
    seen.address(content[16:20], 4)
    flags = int.from_bytes(content[6:8], "big") if len(content) > 7 else 0
    more_fragments, offset = flags & 0x2000, flags & 0x1FFF
    seen.fragmented |= bool(more_fragments or offset)
    if len(content) < 10:
        return None
    if offset:
        seen.protocols.add(content[9])
        return None
    return _payload(content[9], content[content[0] % 16 * 4 :], seen)


def _ipv6(content: bytes, seen: Seen) -> Layer | None:
    seen.address(content[8:24], 16)
    seen.address(content[24:40], 16)
    return _payload(content[6], content[40:], seen) if len(content) > 6 else None


def _payload(protocol: int, content: bytes, seen: Seen) -> Layer | None:
    while True:
        seen.protocols.add(protocol)
        if protocol in PORTED:
            halves = [content[0:2], content[2:4]]
            seen.ports |= {int.from_bytes(half, "big") for half in halves if len(half) == 2}
            return _tunnelled(content) if protocol == 17 else None
        if protocol in OPTIONS_LIKE:
            size = 8 + 8 * (content[1] if len(content) > 1 else 0)
        elif protocol == 51:
            size = 8 + 4 * (content[1] if len(content) > 1 else 0)
        elif protocol == 44:
            seen.fragmented, size = True, 8
        else:
            return None
        if not content:
            return None
        if protocol == 44 and len(content) > 3 and struct.unpack(">H", content[2:4])[0] > 7:
            seen.protocols.add(content[0])  # what a later fragment is a part of
            return None
        protocol, content = content[0], content[size:]


def _tunnelled(datagram: bytes) -> Layer | None:
    port, inner = int.from_bytes(datagram[2:4], "big"), datagram[8:]
    if port == 6081 and len(inner) > 3:
        options = inner[0] % 64 * 4
        kind = int.from_bytes(inner[2:4], "big")
        inner = inner[8 + options :]
        return _typed(inner, 12, 14) if kind == ETHERNET_INSIDE else (kind, inner)
    return _typed(inner[8:], 12, 14) if port == 4789 else None


def _mix(word: int) -> int:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        word ^= word >> shift
        word = word * factor % 2**64
    word ^= word >> 31
    return word if word else 1


def _hash(key: Key) -> int:
    version, prefix, kept = key
    if version == 4:
        return _mix(prefix << 32 | kept << 32 - prefix)
    high, low = divmod(kept << 128 - prefix, 2**64)
    return _mix(_mix(high ^ prefix << 8) ^ low)


def _part(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _bits(numbers: Iterable[int], size: int) -> bytes:
    return sum(1 << number for number in set(numbers)).to_bytes(size, "little")


def _listed(numbers: Iterable[int]) -> bytes:
    return b"".join(struct.pack("<H", number) for number in sorted(numbers))


def _bloom(hashes: set[int], room: int) -> bytes:
    """About ten bits a key, seven probes; fewer of both when there is no room."""
    if not hashes:
        return b"\0"
    size = min(-(-len(hashes) * 10 // 8), room)
    probes = min(7, max(1, (size * 8 * 693 // len(hashes) + 500) // 1000))
    return bytes([probes]) + _bits(_probed(hashes, probes, size * 8), size)


def _probed(hashes: set[int], probes: int, size: int) -> Iterator[int]:
    for each in hashes:
        high, low = divmod(each, 2**32)
        for i in range(probes):
            yield (low + i * (high | 1)) % 2**32 * size // 2**32


def _encoded(seen: Seen) -> bytes:
    out = struct.pack("<HH", 1, 0)
    out += _part(1, bytes([seen.tagged + 2 * seen.fragmented]))
    out += _part(2, _bits(seen.protocols, 32))
    if len(seen.types) <= 64 and not seen.strange_ppp:
        out += _part(3, _listed(seen.types))
    out += _part(4, _bits((port for port in seen.ports if port < 1024), 128))
    others = {port for port in seen.ports if port >= 1024}
    if len(others) <= 512:
        out += _part(5, _listed(others))
    elif len(others) <= 8192:
        out += _part(6, _bloom({_mix(256 << 32 | port) for port in others}, 2048))
    if len(seen.keys) <= MOST_KEYS:
        out += _part(7, _bloom({_hash(key) for key in seen.keys}, ROOM - len(out) - 5))
    return out
