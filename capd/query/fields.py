"""Which field of a packet a load reads, by what is known of the packet on the way to it.

`ld [26]` is an IPv4 source only where an EtherType of 0x0800 stands at 12.  The same walk as
`_dissect.c`'s is made here, not over a packet but over facts: which loads gave which numbers.  A
load that is not surely a field which the sketch took note of, of every packet that lets the load
succeed, is no question.  Hence only whole words of addresses: of an address that was captured in
part the sketch knows nothing.

A program sees frames without their outer VLAN tag, which the sketch has looked behind, so both
call the same bytes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network

from capd.query import questions
from capd.query.questions import FRAGMENT, NOTHING, TAG, Asked
from capd.query.ranges import Ranges, numbers
from capd.query.registers import TAG_PRESENT, Load

_RAW = 101
# LINKTYPE_* of Ethernet, SLL, SLL2: where the EtherType stands, and what it tells of begins.
_TYPE_PLACES = {1: (12, 14), 113: (14, 16), 276: (0, 20)}

_IPV4, _IPV6, _SESSION = 0x0800, 0x86DD, 0x8864
_ARPS = (0x0806, 0x8035)
_TAGS = (0x8100, 0x88A8, 0x9100)
_LABELS = (0x8847, 0x8848)
_OF_PPP = {0x0021: _IPV4, 0x0057: _IPV6, 0x0281: _LABELS[0], 0x0283: _LABELS[1]}
_OF_VERSION = {0x40: _IPV4, 0x60: _IPV6}
_LINK_OF_ONE = {228: {_IPV4}, 229: {_IPV6}}  # LINKTYPE_*
_PORTED = {6, 17, 132}
_EXTENSIONS = {0, 43, 44, 51, 60, 135, 139, 140}  # begin with the next header's number
_FRAGMENT_OFFSET, _FRAGMENT = 0x1FFF, 0x3FFF
_WORD = 0xFFFFFFFF


Facts = Mapping[Load, Ranges]
"""What loads have given on a path."""


def question(load: Load, facts: Facts, link_type: int) -> Asked:
    """What a sketch must perhaps hold for this load to give what the facts say of it."""
    if load.offset == TAG_PRESENT:
        return TAG if numbers(facts[load]) == [1] else NOTHING
    return _Reading(load, facts).link(link_type)


class _Reading:
    """One load, looked for header by header."""

    def __init__(self, load: Load, facts: Facts) -> None:
        self._load = load
        self._facts = facts

    def link(self, link_type: int) -> Asked:
        """What the load asks of a packet of this link."""
        if link_type in _TYPE_PLACES:
            return self._typed(*_TYPE_PLACES[link_type])
        if link_type == _RAW:
            return self._versioned(0)
        return self._inside(_LINK_OF_ONE.get(link_type, set()), 0)

    def _known(self, offset: int, size: int, mask: int) -> set[int]:
        """What this load must have given; empty when it can be anything."""
        return set(numbers(self._facts.get(Load(offset, size, mask), ((0, mask),))))

    def _gave(self, offset: int, size: int, mask: int) -> set[int]:
        """The same if it is the load in question."""
        asked = self._load == Load(offset, size, mask)
        return self._known(offset, size, mask) if asked else set()

    def _inside(self, types: set[int], at: int) -> Asked:
        """What begins at `at` and has one of these EtherTypes, if all of them mean the same."""
        readers = {_READERS.get(number) for number in types}
        reader = readers.pop() if len(readers) == 1 else None
        return NOTHING if reader is None else reader(self, at)

    def _typed(self, place: int, at: int) -> Asked:
        """An EtherType at `place`, which tells of what begins at `at`."""
        types = self._known(place, 2, 0xFFFF)
        if self._gave(place, 2, 0xFFFF):
            return questions.ethertypes(types)
        return self._inside(types, at)

    def tagged(self, at: int) -> Asked:
        return self._typed(at + 2, at + 4)

    def labelled(self, at: int) -> Asked:
        """The last label has a bit set, and what follows says by its first bits what it is."""
        last = self._known(at + 2, 1, 1)
        if last == {0}:
            return self.labelled(at + 4)
        return self._versioned(at + 4) if last == {1} else NOTHING

    def _versioned(self, at: int) -> Asked:
        types = {_OF_VERSION.get(number, 0) for number in self._known(at, 1, 0xF0)}
        if self._gave(at, 1, 0xF0) and 0 not in types:
            return questions.ethertypes(types)
        return self._inside(types, at)

    def session(self, at: int) -> Asked:
        """PPPoE: PPP has numbers of its own for what follows."""
        given = self._known(at + 6, 2, 0xFFFF)
        if self._gave(at + 6, 2, 0xFFFF):
            return questions.ethertypes({_OF_PPP.get(number, number) for number in given})
        return self._inside({_OF_PPP.get(number, 0) for number in given}, at + 8)

    def arp(self, at: int) -> Asked:
        return self._addresses_v4(at + 14, at + 24)

    def ipv4(self, at: int) -> Asked:
        load = self._load
        protocols = self._gave(at + 9, 1, 0xFF)
        if protocols:
            return questions.protocols(protocols)
        if load[:2] == (at + 6, 2) and not load.mask & ~_FRAGMENT and load.behind is None:
            whole = self._facts[load][0][0] == 0
            return NOTHING if whole else FRAGMENT
        first = self._known(at + 6, 2, _FRAGMENT_OFFSET) == {0}
        if first and load.behind == at and load.offset in {at, at + 2}:
            return self._port(self._known(at + 9, 1, 0xFF))
        return self._addresses_v4(at + 12, at + 16)

    def ipv6(self, at: int) -> Asked:
        load = self._load
        protocols = self._known(at + 6, 1, 0xFF)
        if self._gave(at + 6, 1, 0xFF):
            return questions.protocols(protocols)
        behind = self._gave(at + 40, 1, 0xFF)
        if behind and protocols and protocols <= _EXTENSIONS:
            return questions.protocols(behind)
        if load.behind is None and load.offset in {at + 40, at + 42}:
            return self._port(protocols)
        for begin in (at + 8, at + 24):
            if begin <= load.offset < begin + 16:
                return self._address_v6(begin)
        return NOTHING

    def _port(self, protocols: set[int]) -> Asked:
        ported = bool(protocols) and protocols <= _PORTED
        if not ported or (self._load.size, self._load.mask) != (2, 0xFFFF):
            return NOTHING
        ports = numbers(self._facts[self._load])
        return questions.ports(ports)

    def _addresses_v4(self, *places: int) -> Asked:
        if self._load.offset not in places:
            return NOTHING
        prefix, network = _prefix(self._facts, self._load.offset)
        return questions.network(IPv4Network((network, prefix)))

    def _address_v6(self, begin: int) -> Asked:
        """As much as is known of its four words, from the first on."""
        length = network = 0
        for at in range(begin, begin + 16, 4):
            prefix, word = _prefix(self._facts, at)
            network |= word << 96 - 8 * (at - begin)
            length += prefix
            if prefix < 32:
                break
        return questions.network(IPv6Network((network, length)))


_READERS: dict[int, Callable[[_Reading, int], Asked]] = {
    _IPV4: _Reading.ipv4,
    _IPV6: _Reading.ipv6,
    _SESSION: _Reading.session,
    **dict.fromkeys(_ARPS, _Reading.arp),
    **dict.fromkeys(_TAGS, _Reading.tagged),
    **dict.fromkeys(_LABELS, _Reading.labelled),
}


def _prefix(facts: Facts, at: int) -> tuple[int, int]:
    """How many of the first bits of the word at `at` are known, and the word of these alone."""
    best = (0, 0)
    for load, ranges in facts.items():
        if load.offset == at and load.size == 4 and load.behind is None and len(ranges) == 1:
            first, last = ranges[0]
            length = 32 - (~load.mask & _WORD).bit_length()
            if first == last and length > best[0]:
                best = length, first >> 32 - length << 32 - length
    return best
