"""The sketch of a section: what its packets cannot hold, so that nobody has to look.

This module owns the bytes of a sketch and the questions to it; `_sketch.c` writes them and
chooses bits in the same way, `_dissect.c` says where in a packet it looks.  An answer is
"no" or "perhaps", never a wrong "no": whatever is missing, too much or not known means
"perhaps".

Of a filter, only what must be true is a question: in `vlan and host a` it is the tag and
the address.  Where `mpls`, `pppoes`, `geneve` or `vxlan` need not match, as in `mpls or
host a`, libpcap looks for what follows behind a header that may not be there, at bytes
that are no address: there is nothing to ask about such a filter.

Little endian:  2 bytes of version, 1; 2 of zero; then parts: 2 bytes of kind, 2 of length,
and so many bytes.  A kind that is not known is skipped; what a missing part would tell is
not known.

    1  flags         1 byte: 1 some frame has a VLAN tag, 2 some packet is a fragment
    2  protocols     32 bytes, a bit for each IP protocol, in IPv6 also of extension headers
    3  EtherTypes    2 bytes each, ascending; those of 802.3 lengths (up to 1500) not among them
    4  low ports     128 bytes, a bit for each port below 1024, of TCP, UDP and SCTP
    5  port list     2 bytes each, ascending: the other ports, when they are few
    6  port filter   the other ports, when they are more: a Bloom filter
    7  addresses     a Bloom filter of prefixes: /8 /16 /24 /32 and IPv6 /32 /48 /64 /128

Bit n of a set is bit n % 8 of byte n / 8.  A Bloom filter is one byte, the number of
probes, then m bits.  Probe i (0, 1, ...) of a key hashed to h is bit m * x / 2**32 with
x = (h + i * (h / 2**32 | 1)) % 2**32; without keys there are no probes and m is 0.  With
mix() the finalizer of splitmix64, and 1 in place of 0, h is

    mix(256 * 2**32 + port)
    mix(prefix length * 2**32 + IPv4 network)
    mix(mix(the network's upper 64 bits ^ prefix length * 2**8) ^ its lower 64 bits)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from capd.errors import StorageError

VERSION = 1

_HEAD = struct.Struct("<HH")
_PART = struct.Struct("<HH")
_FLAGS, _PROTOCOLS, _TYPES, _LOW_PORTS, _PORT_LIST, _PORT_FILTER, _ADDRESSES = range(1, 8)
_SIZES = {_FLAGS: 1, _PROTOCOLS: 32, _LOW_PORTS: 128}
_TAGGED, _FRAGMENTED = 1, 2
_MOST_LENGTH = 1500  # what stands in a type's place and is not above this is a length

_PORT_KEY = 256
_PREFIXES = {4: (8, 16, 24, 32), 6: (32, 48, 64, 128)}
_MOST_SPARE = 4  # bits: 16 networks are asked about one by one, more are not
_WORD = 2**32 - 1
_LONG = 2**64 - 1

Keys = tuple[tuple[int, ...], ...]
"""Hashed prefixes: of each group one must be there."""


def _mix(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _LONG
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _LONG
    return word ^ word >> 31 or 1


def _key(version: int, prefix: int, network: int) -> int:
    if version == 4:
        return _mix(prefix << 32 | network)
    return _mix(_mix(network >> 64 ^ prefix << 8) ^ network & _LONG)


def _holds_bit(bits: bytes, number: int) -> bool:
    return bool(bits[number // 8] >> number % 8 & 1)


def _holds_number(numbers: bytes, number: int) -> bool:
    return number in struct.unpack(f"<{len(numbers) // 2}H", numbers)


def network_keys(network: IPv4Network | IPv6Network) -> Keys:
    """What `may_hold_keys` looks for: for one network and many sketches, worked out once.

    () for a network so large that nothing is known about it.
    """
    version, first = network.version, int(network.network_address)
    bits = network.max_prefixlen
    groups: list[tuple[int, ...]] = []
    for prefix in _PREFIXES[version]:
        spare = prefix - network.prefixlen
        if spare > _MOST_SPARE:
            break
        # Inside of a kept prefix, that one; around kept ones, any of them.
        inside = 1 << spare if spare > 0 else 1
        base = first >> bits - prefix
        groups.append(
            tuple(_key(version, prefix, base + i << bits - prefix) for i in range(inside))
        )
        if spare >= 0:
            break
    # Neighbours are often there where the network itself is not: the longest prefix first.
    return tuple(sorted(groups, key=lambda group: (len(group), -groups.index(group))))


def _holds_one(bloom: bytes, keys: tuple[int, ...]) -> bool:
    """Whether one of these keys is in a Bloom filter."""
    probes, bits = bloom[0], 8 * len(bloom) - 8
    if not bits:
        return False
    for key in keys:
        at, step = key & _WORD, key >> 32 | 1
        for _ in range(probes):
            bit = bits * (at & _WORD) >> 32
            if not bloom[1 + (bit >> 3)] >> (bit & 7) & 1:
                break
            at += step
        else:
            return True
    return False


@dataclass(frozen=True)
class Sketch:
    """The parts of a sketch; None is a part that is not there."""

    flags: bytes | None = None
    protocols: bytes | None = None
    types: bytes | None = None
    low_ports: bytes | None = None
    port_list: bytes | None = None
    port_filter: bytes | None = None
    addresses: bytes | None = None

    @classmethod
    def decode(cls, content: bytes) -> Sketch:
        """From the bytes of a section's sketch; b"" and other versions tell nothing.

        StorageError: the parts are not whole.
        """
        if not content:
            return cls()
        if len(content) < _HEAD.size:
            raise _unusable("it is cut short")
        if _HEAD.unpack_from(content)[0] != VERSION:
            return cls()
        parts = dict(_parts(content))
        return cls(*map(parts.get, range(_FLAGS, _ADDRESSES + 1)))

    def may_hold_network(self, network: IPv4Network | IPv6Network) -> bool:
        """Whether an address inside may be source or destination, of ARP sender or target."""
        return self.may_hold_keys(network_keys(network))

    def may_hold_keys(self, keys: Keys) -> bool:
        """The same by the network's `network_keys`."""
        if self.addresses is not None:
            for group in keys:
                if not _holds_one(self.addresses, group):
                    return False
        return True

    def may_hold_port(self, port: int) -> bool:
        """Whether it may be a source or destination port of TCP, UDP or SCTP."""
        if port < 1024:
            return self.low_ports is None or _holds_bit(self.low_ports, port)
        if self.port_list is not None:
            return _holds_number(self.port_list, port)
        key = _mix(_PORT_KEY << 32 | port)
        return self.port_filter is None or _holds_one(self.port_filter, (key,))

    def may_hold_protocol(self, number: int) -> bool:
        """Whether it may be the protocol of an IPv4 packet or a next header of an IPv6 one."""
        return self.protocols is None or _holds_bit(self.protocols, number)

    def may_hold_ethertype(self, number: int) -> bool:
        """Whether it may be the EtherType of a frame, or of what is behind its tags or labels.

        About the lengths of 802.3 nothing is known.  IP of links without EtherTypes and
        behind PPP counts as 0x0800 and 0x86dd.
        """
        return number <= _MOST_LENGTH or self.types is None or _holds_number(self.types, number)

    def may_hold_tag(self) -> bool:
        """Whether there may be a frame with a VLAN tag."""
        return self.flags is None or bool(self.flags[0] & _TAGGED)

    def may_hold_fragment(self) -> bool:
        """Whether there may be a fragment of an IP packet, the first one counted too."""
        return self.flags is None or bool(self.flags[0] & _FRAGMENTED)


def _unusable(why: str) -> StorageError:
    return StorageError(f"the sketch of a section cannot be used: {why}")


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = _HEAD.size
    while at < len(content):
        if len(content) - at < _PART.size:
            raise _unusable("it is cut short")
        kind, size = _PART.unpack_from(content, at)
        at += _PART.size
        part = content[at : at + size]
        if len(part) < size:
            raise _unusable(f"part {kind} is cut short")
        lists = kind in {_TYPES, _PORT_LIST}
        blooms = kind in {_PORT_FILTER, _ADDRESSES}
        if size != _SIZES.get(kind, size) or (lists and size % 2) or (blooms and size < 1):
            raise _unusable(f"part {kind} is {size} bytes long")
        yield kind, part
        at += size
