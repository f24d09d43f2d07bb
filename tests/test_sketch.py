"""The sketch as it is read: what libpcap finds in a packet, the sketch never denies."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capd.errors import StorageError
from capd.sketch import Sketch, network_keys
from tests.support import headers, libpcap
from tests.support.headers import LINKS, PORTS, V4, V6
from tests.support.surveying import agreed, compiled, segment
from tests.support.twin import exact

Question = tuple[str, Callable[[Sketch], bool]]
"""A filter, and what must be perhaps inside for it to match."""

_What = TypeVar("_What")

_NETWORKS = (
    *("10.0.0.0/8", "10.1.2.0/24", "10.1.2.192/26", "10.1.0.0/17", "192.0.0.0/3", "10.1.2.2/31"),
    *("2001:db8::/32", "2001:db8::/30", "2001:db8::/48", "2001:db8:0:5::/64", "2001:db8::/56"),
    *("2001:db8::/96", "fe80::/10", "2001:db8::/126", "ff00::/8"),
)
_TYPES = (0x0800, 0x86DD, 0x0806, 0x8035, 0x8847, 0x8864, 0x88B5, 0x0023, 0xC021)
_KEYWORDS = (
    *("", "vlan and ", "vlan and vlan and ", "mpls and ", "mpls and mpls and "),
    *("vlan and mpls and ", "pppoes and ", "vlan and pppoes and ", "geneve and "),
    *("vlan and geneve and ", "geneve and vlan and "),
)


def _about(ask: Callable[[Sketch, _What], bool], what: _What) -> Callable[[Sketch], bool]:
    return lambda sketch: ask(sketch, what)


def _plain_questions() -> Iterable[Question]:
    for network in map(ip_network, (*V4, *V6, *_NETWORKS)):
        yield f"net {network}", _about(Sketch.may_hold_network, network)
    for port in PORTS:
        yield f"port {port}", _about(Sketch.may_hold_port, port)
    for protocol in {*headers.PROTOCOLS, *headers.EXTENSIONS}:
        for version in ("ip", "ip6"):
            yield f"{version} proto {protocol}", _about(Sketch.may_hold_protocol, protocol)
    for number in (*_TYPES, 0x42, 0xAA):
        yield f"ether proto {number}", _about(Sketch.may_hold_ethertype, number)
    yield "ip[6:2] & 0x3fff != 0", Sketch.may_hold_fragment
    yield "ip6 proto 44", Sketch.may_hold_fragment
    yield "atalk", _about(Sketch.may_hold_ethertype, 0x809B)
    yield "arp", _about(Sketch.may_hold_ethertype, 0x0806)


@cache
def _questions(link_type: int) -> list[Question]:
    """All that libpcap understands on this link."""
    made: list[Question] = []
    for keyword in _KEYWORDS:
        for text, asked in (*_plain_questions(), ("vlan", Sketch.may_hold_tag)):
            try:
                libpcap.compiled(keyword + text, link_type)
            except ValueError:
                continue
            made.append((keyword + text, asked))
    return made


def sketched(packets: Iterable[bytes], link_type: int = 1) -> Sketch:
    """The sketch of these packets, on which C and twin agree."""
    return Sketch.decode(agreed(segment(packets, link_type))[-1])


def _stripped(packet: bytes, link_type: int) -> bytes:
    """As the kernel has it when a filter runs: without the outer tag."""
    tagged = link_type == 1 and packet[12:14] in {b"\x81\x00", b"\x88\xa8"}
    return packet[:12] + packet[16:] if tagged else packet


def _denied(packet: bytes, link_type: int) -> list[str]:
    """Filters that match the packet although the sketch says no."""
    sketch = sketched([packet], link_type)
    return [
        text
        for text, asked in _questions(link_type)
        if not asked(sketch)
        and any(
            libpcap.matches(text, link_type, each)
            for each in (packet, _stripped(packet, link_type))
        )
    ]


@pytest.mark.parametrize("link_type", LINKS)
def test_there_are_questions(link_type: int) -> None:
    """Enough of them, so that what follows is a test."""
    assert len(_questions(link_type)) >= {1: 400, 113: 100, 276: 100}.get(link_type, 40)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1), st.sampled_from((1, 1, *LINKS)))
def test_no_match_is_denied(seed: int, link_type: int) -> None:
    """By libpcap's own word, over frames with and without their outer tag."""
    packet = headers.packet(random.Random(seed), link_type)
    assert _denied(packet, link_type) == [], packet.hex()


def _seen_through(keyword: str, link_type: int) -> bytes:
    """A packet in which something is found behind this keyword."""
    rng = random.Random(keyword)
    wanted = f"{keyword}net 10.0.0.0/8"
    packets = (headers.packet(rng, link_type) for _ in range(50_000))
    return next(packet for packet in packets if libpcap.matches(wanted, link_type, packet))


@pytest.mark.parametrize("keyword", _KEYWORDS)
def test_every_length(keyword: str) -> None:
    """What was captured of a field is enough for some filters, and not for others."""
    packet = _seen_through(keyword, 1)
    for length in range(len(packet) + 1):
        assert _denied(packet[:length], 1) == [], packet[:length].hex()


@pytest.mark.parametrize("link_type", [101, 113, 228, 276])
def test_every_length_on_other_links(link_type: int) -> None:
    """The same where no Ethernet header comes first."""
    packet = _seen_through("geneve and ", link_type)
    for length in range(len(packet) + 1):
        assert _denied(packet[:length], link_type) == [], packet[:length].hex()


def test_matches_are_common() -> None:
    """Of the random packets most match something, behind every keyword something."""
    rng = random.Random(1)
    seen = set()
    for _ in range(4000):
        packet = headers.packet(rng)
        seen |= {text for text, _ in _questions(1) if libpcap.matches(text, 1, packet)}
    for keyword in _KEYWORDS:
        assert any(text.startswith(f"{keyword}net 10.") for text in seen), keyword
    assert len(seen) > 250


@settings(deadline=None)
@given(st.lists(st.binary(max_size=120), max_size=4), st.sampled_from(LINKS))
def test_noise(packets: list[bytes], link_type: int) -> None:
    """Random bytes: C and twin agree, and libpcap finds nothing that is denied."""
    sketched(packets, link_type)
    for packet in packets:
        assert _denied(packet, link_type) == []


def _from_to(source: str, destination: str, port: int) -> bytes:
    """A frame of UDP."""
    start = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0)
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    ports = struct.pack(">HHHH", port, 53, 8, 0)
    return headers.framed(1, (0x0800, start + addresses + ports))


def _from_to_v6(source: str, destination: str) -> bytes:
    start = struct.pack(">IHBB", 6 << 28, 0, 59, 64)
    addresses = IPv6Address(source).packed + IPv6Address(destination).packed
    return headers.framed(1, (0x86DD, start + addresses))


def test_what_is_absent_is_denied() -> None:
    """Else a sketch would be of no use."""
    sketch = sketched(
        [_from_to("10.1.2.3", "192.168.5.6", 4000), _from_to_v6("2001:db8::1", "fe80::2")]
    )
    for text in ("10.1.2.4/32", "10.1.3.0/24", "10.1.2.128/28", "11.0.0.0/8", "20.0.0.0/6"):
        assert not sketch.may_hold_network(ip_network(text))
    for text in ("2001:db8::2/128", "2001:db8:0:1::/64", "2001:db8:1::/48", "2001:dc0::/28"):
        assert not sketch.may_hold_network(ip_network(text))
    for text in ("0.0.0.0/0", "8.0.0.0/5", "10.1.2.3/32", "::/0", "fe80::/10", "fe80::2/128"):
        assert sketch.may_hold_network(ip_network(text))
    assert [n for n in range(65536) if sketch.may_hold_port(n)] == [53, 4000]
    assert [n for n in range(256) if sketch.may_hold_protocol(n)] == [17, 59]
    assert [n for n in range(1501, 65536) if sketch.may_hold_ethertype(n)] == [0x0800, 0x86DD]
    assert all(sketch.may_hold_ethertype(n) for n in range(1501))
    assert (sketch.may_hold_tag(), sketch.may_hold_fragment()) == (False, False)


def test_nothing_is_in_nothing() -> None:
    """A section without packets holds nothing."""
    sketch = sketched([])
    assert not sketch.may_hold_network(ip_network("10.0.0.0/8"))
    assert not any(sketch.may_hold_port(n) for n in range(65536))


@pytest.mark.parametrize(("count", "share"), [(100, 0.03), (1500, 0.03), (4000, 0.2)])
def test_wrong_answers_are_few(count: int, share: float) -> None:
    """About one in a hundred while there is room, more under the cap."""
    rng = random.Random(count)
    hosts = [".".join(str(rng.randrange(256)) for _ in range(4)) for _ in range(count)]
    packets = [_from_to(host, "10.0.0.1", 2000 + i) for i, host in enumerate(hosts)]
    content = agreed(segment(packets))[-1]
    assert len(content) <= 8192
    sketch = Sketch.decode(content)
    assert all(sketch.may_hold_network(ip_network(host)) for host in hosts)
    assert all(sketch.may_hold_port(2000 + i) for i in range(count))
    others = [f"10.{i % 256}.{i // 256}.7" for i in range(2000)]
    wrong = sum(sketch.may_hold_network(ip_network(host)) for host in others)
    assert wrong < 2000 * share
    wrong = sum(sketch.may_hold_port(20000 + i) for i in range(2000))
    assert wrong < 2000 * share * 3


def test_too_many_are_not_known() -> None:
    """Of addresses and ports; low ports and the rest stay."""
    packets = [_from_to(f"{i >> 6}.{i % 64}.9.9", "1.1.1.1", 1024 + i) for i in range(9000)]
    sketch = sketched(packets)
    assert (sketch.addresses, sketch.port_list, sketch.port_filter) == (None, None, None)
    assert sketch.may_hold_network(ip_network("200.0.0.0/8"))
    assert sketch.may_hold_port(60000)
    assert [n for n in range(1024) if sketch.may_hold_port(n)] == [53]
    assert not sketch.may_hold_protocol(6)
    many = sketched([headers.framed(1, (0x9200 + i, b"")) for i in range(65)])
    assert many.types is None
    assert many.may_hold_ethertype(0x0800)


@pytest.mark.parametrize("link_type", [0, 105, 108, 127, 147])
def test_links_that_are_not_read(link_type: int) -> None:
    """There is no sketch, and everything is possible."""
    content = agreed(segment([bytes(60)], link_type))[-1]
    assert content == b""
    assert _knows_nothing(Sketch.decode(content))


def _knows_nothing(sketch: Sketch) -> bool:
    return (
        sketch.may_hold_network(ip_network("10.0.0.1"))
        and sketch.may_hold_port(1)
        and sketch.may_hold_port(2000)
        and sketch.may_hold_protocol(1)
        and sketch.may_hold_ethertype(0x0800)
        and sketch.may_hold_tag()
        and sketch.may_hold_fragment()
    )


def test_later_versions() -> None:
    """Another version tells nothing; another kind of part is skipped."""
    content = agreed(segment([_from_to("10.1.2.3", "10.0.0.1", 9)]))[-1]
    assert _knows_nothing(Sketch.decode(b"\2\0" + content[2:]))
    part = struct.pack("<HH", 99, 5) + b"later"
    assert Sketch.decode(content[:4] + part + content[4:] + part) == Sketch.decode(content)


def test_damage() -> None:
    """Parts that are not whole are not read: cut off anywhere, or of a wrong length."""
    content = agreed(segment([_from_to("10.1.2.3", "10.0.0.1", 9999)]))[-1]
    ends, at = {0, 4}, 4
    while at < len(content):
        at += 4 + struct.unpack_from("<H", content, at + 2)[0]
        ends.add(at)
    for length in set(range(len(content))) - ends:
        with pytest.raises(StorageError, match="cut short"):
            Sketch.decode(content[:length])
    for kind, size in ((1, 2), (2, 31), (3, 3), (4, 127), (5, 1), (6, 0), (7, 0)):
        with pytest.raises(StorageError, match=f"part {kind} is {size} bytes"):
            Sketch.decode(content[:4] + struct.pack("<HH", kind, size) + bytes(size))


def test_an_address_cannot_hide_another() -> None:
    """Keys can be made to meet: sending from such an address first keeps nothing out."""
    for victim in map(ip_address, ("10.1.2.3", "2001:db8::1")):
        (key,), *_ = network_keys(ip_network(victim))
        made = IPv6Address(1 << 127 | _unmixed(key) ^ _mix(1 << 63 ^ 128 << 8))
        assert network_keys(ip_network(made))[0] == (key,)
        packets = []
        for address in (made, victim):
            protocol = struct.pack(">H", 0x0800 if address.version == 4 else 0x86DD)
            start = bytes(12 if address.version == 4 else 8)
            packets.append(bytes(12) + protocol + start + address.packed * 2 + bytes(4))
        content = segment(packets)  # the twin's keys do not meet: only C is asked
        (*_, sketch) = compiled().survey(exact(content), 0, len(content), -1, True)
        assert Sketch.decode(sketch).may_hold_network(ip_network(victim))


def _unmixed(word: int) -> int:
    """What splitmix64's finalizer was given."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        undone = word
        for _ in range(3):  # each round puts `shift` more bits right
            undone = word ^ undone >> shift
        word = undone * pow(factor, -1, 2**64) % 2**64
    return word


def _mix(word: int) -> int:
    """The finalizer."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        word = (word ^ word >> shift) * factor % 2**64
    return word
