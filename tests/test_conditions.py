"""Conditions: no packet that a filter accepts is in a section that they deny."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from capd.filter import FilterRequest, compile_filters
from capd.query.conditions import Conditions
from capd.survey import survey
from tests.support import headers, instructions, random_filters
from tests.support.filters import FILTERS
from tests.support.headers import LINKS
from tests.support.matching import accepted
from tests.support.surveying import segment


def sketched(packets: Iterable[bytes], link_type: int = 1) -> bytes:
    """The sketch of a section of these packets."""
    content = segment(packets, link_type)
    return survey(content, 0, len(content), sketch=True).sketch


def programs(texts: Iterable[str], link_type: int = 1) -> dict[str, bytes]:
    """Of those filters that can be asked of stored packets of this link."""
    wanted = list(dict.fromkeys(texts))
    outcomes = compile_filters([FilterRequest(text, link_type, 96) for text in wanted])
    pairs = zip(wanted, outcomes, strict=True)
    made = {text: outcome for text, outcome in pairs if isinstance(outcome, bytes)}
    return {text: program for text, program in made.items() if _can_run(program)}


def _can_run(program: bytes) -> bool:
    try:
        accepted(program, [])
    except ValueError:  # `pppoes and inbound`: libpcap 1.10 asks for the receive queue there
        return False
    return True


def conditions(texts: Iterable[str], link_type: int = 1) -> dict[str, Conditions]:
    """By filter."""
    compiled = programs(texts, link_type)
    return {text: Conditions.of(program, link_type) for text, program in compiled.items()}


def denied(
    compiled: dict[str, bytes], packets: Sequence[bytes], link_type: int
) -> Iterator[tuple[str, str]]:
    """Filters and packets that they accept, although their conditions say no."""
    sketches = [sketched([packet], link_type) for packet in packets]
    for text, program in compiled.items():
        made = Conditions.of(program, link_type)
        for number in accepted(program, packets, link_type):
            if not made.may_match(sketches[number]):
                yield text, packets[number].hex()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from((1, 1, 1, *LINKS)))
def test_no_match_is_denied(seed: int, link_type: int) -> None:
    """Random filters over random packets, each a section: up to 2500 pairs a seed."""
    rng = random.Random(seed)
    compiled = programs((random_filters.text(rng) for _ in range(50)), link_type)
    packets = [headers.packet(rng, link_type) for _ in range(50)]
    assert list(denied(compiled, packets, link_type)) == []


def test_no_match_of_the_corpus_is_denied() -> None:
    """All primitives of pcap-filter(7), over packets that have most of them inside."""
    rng = random.Random(300)
    packets = [headers.packet(rng) for _ in range(1000)]
    assert list(denied(programs(FILTERS), packets, 1)) == []


def test_matches_and_denials_are_common() -> None:
    """So that what was tested above is a test."""
    rng = random.Random(6)
    compiled = programs(random_filters.text(rng) for _ in range(150))
    packets = [headers.packet(rng) for _ in range(100)]
    sketches = [sketched([packet]) for packet in packets]
    answers = []
    for program in compiled.values():
        made, taken = Conditions.of(program, 1), accepted(program, packets)
        answers += [(made.may_match(each), n in taken) for n, each in enumerate(sketches)]
    assert len(answers) > 10_000
    assert answers.count((True, True)) > len(answers) / 10
    assert answers.count((False, False)) > len(answers) / 10


_DEEP = (
    *("host 10.1.2.3", "ip6 net 2001:db8::/48", "port 443", "ip6 proto 6", "arp net 10.0.0.0/8"),
    *("vlan and net 10.0.0.0/8", "mpls and mpls and ip6 host fe80::1", "vlan and vlan and tcp"),
    *("pppoes and port 53", "ip[6:2] & 0x3fff != 0", "ip[12] = 10", "ip[6] & 0x20 != 0", "vlan 5"),
    *("pppoes and ip6 net 2001:db8::/33", "ip6[6] = 44 and ip6[40] = 17", "ether[26:2] = 0x0a01"),
)


def test_every_length() -> None:
    """What was captured of a field is enough for some programs, and not for others."""
    rng = random.Random(9)
    compiled = programs(_DEEP)
    assert len(compiled) == len(_DEEP)
    packets = [headers.packet(rng) for _ in range(3000)]
    for program in compiled.values():
        packet = packets[min(accepted(program, packets))][:100]
        cut = [packet[:length] for length in range(len(packet))]
        assert list(denied(compiled, cut, 1)) == []


def _datagram(source: str, destination: str, port: int, protocol: int = 6) -> bytes:
    addresses = bytes(int(part) for part in f"{source}.{destination}".split("."))
    start = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, protocol, 0)
    return start + addresses + struct.pack(">HHIIHHI", 40000, port, 0, 0, 0x5002, 0, 0)


# What is in the section: TCP of 10.1.2.3 and UDP of 10.1.2.4, one of them behind a tag.
_SECTION = (
    headers.framed(1, (0x0800, _datagram("10.1.2.3", "192.168.5.6", 443))),
    headers.framed(1, (0x8100, b"\0\5\x08\0" + _datagram("10.1.2.4", "192.168.5.6", 53, 17))),
)
_SKIPPED = (
    *(
        "host 10.9.9.9",
        "src host 10.9.9.9",
        "net 10.1.3.0/24",
        "net 10.1.2.128/28",
        "net 20.0.0.0/6",
    ),
    *("host 10.9.9.9 and (port 443 or tcp[13] & 2 != 0)", "not tcp and host 10.9.9.9"),
    *("(host 10.9.9.9 or host 10.9.9.8) and not port 22", "host 10.1.2.3 and host 10.9.9.9"),
    *("tcp port 4444", "tcp dst port 4444", "portrange 4444-4459", "port 80 or port 8080"),
    *("(tcp or udp) and (port 80 or port 4444)", "host 10.1.2.3 and port 80"),
    *("icmp", "sctp", "ip proto 47", "tcp and host 10.9.9.9 or icmp", "ip6", "arp", "rarp"),
    *("ether proto 0x88cc", "arp host 10.1.2.3", "host 2001:db8::1", "ip6 net 2001:db8::/33"),
    *("ip6 net 2001:db8::/48 and tcp", "host fe80::1 or host 10.9.9.9", "ip[6:2] & 0x3fff != 0"),
    *("vlan and host 10.9.9.9", "vlan 5 and port 4444", "udp port 80 and vlan 5"),
    *("mpls", "mpls and host 10.1.2.3", "pppoes", "pppoes and tcp", "geneve and host 10.1.2.3"),
    *("ip6[6] = 0 and ip6[40] = 58", "tcp[0:2] = 4444", "ip[12:4] = 0x0a090909", "inbound and arp"),
    *("vlan and tcp port 4444 and not vlan 6", "ip host 10.9.9.9 or ip6 and port 443"),
)
_SCANNED = (
    *("host 10.1.2.3", "net 10.1.0.0/16", "tcp port 443", "udp and port 53", "port 40000", "vlan"),
    *("vlan 9", "not host 10.9.9.9", "greater 1000", "ether host 1:2:3:4:5:6", "not vlan", ""),
    *("host 10.9.9.9 or tcp[13] & 2 != 0", "portrange 400-600", "inbound", "vlan or host 10.9.9.9"),
    *("ether[26:4] = 0x0a090909", "ip[12] = 77", "net 0.0.0.0/0 and tcp", "ip[2:2] < 99"),
)


def test_what_cannot_match_is_skipped() -> None:
    """Else there would be no use in asking."""
    sketch = sketched(_SECTION)
    asked = conditions((*_SKIPPED, *_SCANNED))
    assert [text for text in _SKIPPED if asked[text].may_match(sketch)] == []
    assert [text for text in _SCANNED if not asked[text].may_match(sketch)] == []


def test_on_links_without_ethernet() -> None:
    """IP alone, and Linux's cooked headers."""
    packet = _datagram("10.1.2.3", "192.168.5.6", 443)
    for link_type in (101, 113, 228, 276):
        framed = headers.framed(link_type, (0x0800, packet)) if link_type in {113, 276} else packet
        sketch = sketched([framed], link_type)
        absent = ("host 10.9.9.9", "tcp port 80", "host 10.9.9.9 and not port 22", "udp")
        asked = conditions((*absent, "tcp port 443 and src host 10.1.2.3"), link_type)
        assert [each.may_match(sketch) for each in asked.values()] == [False] * 4 + [True]


def test_many_hosts() -> None:
    """Each of them is asked for, whichever way the program takes from one to the next."""
    form = "(dst host 10.{}.2.7 and port 70{})"
    numbers = range(10, 60)
    texts = [form.format(n, n) for n in numbers]
    (made,) = conditions([" or ".join(texts)]).values()
    assert not made.may_match(sketched(_SECTION))
    for n in numbers:
        for port in (n, n + 1):
            packet = _datagram("10.1.2.3", f"10.{n}.2.7", 7000 + port)
            held = sketched([headers.framed(1, (0x0800, packet))])
            assert made.may_match(held) is (port == n)


def test_a_sketch_that_knows_nothing() -> None:
    """Missing, of another version, or damaged: it denies nothing."""
    for content in (b"", b"\2\0\0\0", b"\1\0\0\0", b"\1", sketched(_SECTION)[:-1]):
        assert all(made.may_match(content) for made in conditions(_SKIPPED).values())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from((1, 1, *LINKS)))
def test_no_match_of_other_programs_is_denied(seed: int, link_type: int) -> None:
    """What no filter of libpcap 1.10 does, one of a later version may: 600 programs a seed."""
    rng = random.Random(seed)
    for number in range(10):
        plain = link_type == 1 and number % 2
        packet = headers.plain(rng) if plain else headers.packet(rng, link_type)
        compiled = {str(each): each for each in instructions.programs(rng, packet)}
        assert list(denied(compiled, [packet], link_type)) == []


@settings(deadline=5000, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from((0.2, 0.5, 0.8)))
def test_hostile_programs(seed: int, jumps: float) -> None:
    """The longest ones, of anything: an answer, and soon."""
    program = instructions.longest(random.Random(seed), jumps)
    for end in (0, 96):
        made = Conditions.of(program + struct.pack("HBBI", 6, 0, 0, end), 1)
        assert made.may_match(sketched(_SECTION)) in {True, False}
