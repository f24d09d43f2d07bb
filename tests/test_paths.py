"""Programs that read a field's number somewhere else: such a load is no question.

libpcap's own programs are tested in test_conditions.py; these are what a rule that is missing
would take for one of them.
"""

from __future__ import annotations

import struct

from capd.query.conditions import Conditions
from tests.support import headers
from tests.support.matching import accepted
from tests.test_conditions import sketched

BYTE, HALF, WORD = 0x30, 0x28, 0x20  # ld [k]
BYTE_AT_X, HALF_AT_X, WORD_AT_X = 0x50, 0x48, 0x40  # ld [x + k]
HEADER_LENGTH, INDEX, FROM_MEMORY = (0xB1, 0, 0, 14), 0x01, (0x61, 0, 0, 0)

Step = tuple[int, int, int, int]

_START = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 6, 0) + bytes((1, 2, 3, 4, 5, 6, 7, 8))
_PACKET = headers.framed(1, (0x0800, _START + struct.pack(">HHI", 1000, 2000, 0x0A090909)))


def _wants(code: int, offset: int, number: int, mask: int = 0xFFFFFFFF) -> list[Step]:
    """Reject unless this load gives this number."""
    return [(code, 0, 0, offset), (0x54, 0, 0, mask), (0x15, 1, 0, number), (6, 0, 0, 0)]


def _is_scanned(packet: bytes, *steps: Step) -> bool:
    """Whether the section of a packet that is accepted is scanned."""
    program = b"".join(struct.pack("HBBI", *step) for step in (*steps, (6, 0, 0, 96)))
    assert accepted(program, [packet])
    return Conditions.of(program, 1).may_match(sketched([packet]))


def test_port_of_a_later_fragment() -> None:
    """There is none: what stands there is data."""
    later = _PACKET[:20] + b"\x00\x09" + _PACKET[22:]
    steps = (*_wants(HALF, 12, 0x0800), *_wants(BYTE, 23, 6), HEADER_LENGTH)
    assert _is_scanned(later, *steps, *_wants(HALF_AT_X, 14, 1000))
    assert _is_scanned(_PACKET, *steps, *_wants(HALF_AT_X, 18, 0x0A09))


def test_port_of_another_protocol() -> None:
    """Of ICMP, say."""
    other = _PACKET[:23] + b"\x01" + _PACKET[24:]
    steps = (*_wants(HALF, 12, 0x0800), *_wants(HALF, 20, 0, 0x1FFF), HEADER_LENGTH)
    assert _is_scanned(other, *steps, *_wants(HALF_AT_X, 14, 1000))
    assert _is_scanned(other, *_wants(BYTE, 23, 1), *steps, *_wants(HALF_AT_X, 14, 1000))


def test_index() -> None:
    """What is added to an offset counts, and what is not known of it."""
    ip = _wants(HALF, 12, 0x0800)
    assert _is_scanned(_PACKET, *ip, (INDEX, 0, 0, 12), *_wants(WORD_AT_X, 26, 0x0A090909))
    assert _is_scanned(_PACKET, *ip, HEADER_LENGTH, *_wants(WORD_AT_X, 18, 0x0A090909))
    length = [(BYTE, 0, 0, 14), (0x54, 0, 0, 15), (0x64, 0, 0, 2), (0x04, 0, 0, 2), (7, 0, 0, 0)]
    assert _is_scanned(_PACKET, *ip, *length, *_wants(WORD_AT_X, 16, 0x0A090909))


def test_a_byte_that_is_no_length() -> None:
    """Four times all of it is not four times its last four bits."""
    far = 14 + 4 * 0x45
    packet = _PACKET.ljust(far, b"\0") + struct.pack(">H", 4444)
    steps = (*_wants(HALF, 12, 0x0800), *_wants(BYTE, 23, 6), *_wants(HALF, 20, 0, 0x1FFF))
    index = [(BYTE, 0, 0, 14), (0x64, 0, 0, 2), (7, 0, 0, 0)]
    assert _is_scanned(packet, *steps, *index, *_wants(HALF_AT_X, 14, 4444))


def test_too_many_ways() -> None:
    """What they do not have in common is forgotten: of 20 indexes this packet has the last."""
    ways: list[Step] = []
    for number in range(20):
        last = number == 19
        ways += [(BYTE, 0, 0, 22), (0x15, 0, 3, 64 if last else 99)]
        ways += [
            (0x00, 0, 0, 12 if last else number % 9),
            (0x02, 0, 0, 0),
            (5, 0, 0, 95 - 5 * number),
        ]
    steps = (*_wants(HALF, 12, 0x0800), *ways, FROM_MEMORY)
    assert _is_scanned(_PACKET, *steps, *_wants(WORD_AT_X, 26, 0x0A090909))


def test_too_many_questions() -> None:
    """To ask them all would take longer than to look."""
    sketch = sketched([_PACKET])
    for hosts, scanned in ((500, False), (2040, True)):
        steps = [*_wants(HALF, 12, 0x0800), (WORD, 0, 0, 26)]
        for number in range(hosts):
            steps += [(0x15, 0, 1, 0x0A090000 + number), (6, 0, 0, 96)]
        program = b"".join(struct.pack("HBBI", *step) for step in (*steps, (6, 0, 0, 0)))
        assert Conditions.of(program, 1).may_match(sketch) is scanned


def test_ways_with_other_facts() -> None:
    """Only what is so on all of them is a fact: this packet need not be IP at all."""
    other = _PACKET[:12] + b"\x88\xb5" + _PACKET[14:]
    either = [(HALF, 0, 0, 12), (0x15, 1, 0, 0x0800), (5, 0, 0, 0)]
    assert _is_scanned(other, *either, *_wants(WORD, 26, 0x01020304))


def test_part_of_an_address() -> None:
    """Is there where the rest was not captured, and the sketch has seen nothing."""
    assert _is_scanned(_PACKET[:28], *_wants(HALF, 12, 0x0800), *_wants(HALF, 26, 0x0102))


def test_behind_labels() -> None:
    """What is behind a label that need not be the last one may be another label."""
    labels = struct.pack(">II", 6 << 12 | 64, 0x40064140)
    packet = headers.framed(1, (0x8847, labels + _START + struct.pack(">I", 0x0A090909)))
    steps = (*_wants(HALF, 12, 0x8847), *_wants(BYTE, 18, 0x40, 0xF0))
    assert _is_scanned(packet, *steps, *_wants(WORD, 42, 0x0A090909))
    assert _is_scanned(packet, *steps, *_wants(WORD, 30, 0x40060000))


def test_in_a_session() -> None:
    """PPP's numbers are no EtherTypes: 0x0806 there is no ARP."""
    session = struct.pack(">BBHHH", 0x11, 0, 1, 30, 0x0806) + bytes(14) + b"\x0a\x09\x09\x09"
    packet = headers.framed(1, (0x8864, session))
    steps = (*_wants(HALF, 12, 0x8864), *_wants(HALF, 20, 0x0806))
    assert _is_scanned(packet, *steps, *_wants(WORD, 36, 0x0A090909))


def test_of_two_protocols() -> None:
    """Where it can be IPv4 or ARP, an address of the one may be something else of the other."""
    types = [(HALF, 0, 0, 12), (0x15, 2, 0, 0x0800), (0x15, 1, 0, 0x0806), (6, 0, 0, 0)]
    for number, place in ((0x0806, 12), (0x0800, 14)):
        content = bytes(place) + struct.pack(">I", 0x0A090909) + bytes(20)
        packet = headers.framed(1, (number, content))
        assert _is_scanned(packet, *types, *_wants(WORD, 14 + place, 0x0A090909))


def test_port_behind_a_length_of_something_else() -> None:
    """In IPv6 nothing has to be added to the place of a port."""
    start = struct.pack(">IHBB", 6 << 28, 24, 6, 64) + bytes(32)
    packet = headers.framed(1, (0x86DD, start + struct.pack(">HHHH", 1000, 2000, 4444, 0)))
    steps = (*_wants(HALF, 12, 0x86DD), *_wants(BYTE, 20, 6), (0xB1, 0, 0, 19))  # X: 4 * 1
    packet = packet[:19] + b"\1" + packet[20:]
    assert _is_scanned(packet, *steps, *_wants(HALF_AT_X, 54, 4444))
