"""Folding: what a live program asks the kernel for becomes a constant, and nothing else changes."""

from __future__ import annotations

import struct

import pytest

from capd.errors import FilterError
from capd.filter import FilterRequest, compile_filters
from capd.query.folding import Word, ancillary, fold
from tests.support import libpcap

WORDS = {
    "tcp port 80": Word(0),
    "vlan": Word.TAG_PRESENT,
    "udp port 80 and vlan 5": Word.TAG_PRESENT | Word.TAG,
    "inbound and ip": Word.DIRECTION,
    "outbound and not vlan": Word.DIRECTION | Word.TAG_PRESENT,
    "ether[-4096+44:4] = 0xe005": Word.TAG,
}
UNTOLD = {
    "ifindex 3": "use --interface",
    "ip or ether[-4096+8:4] = 3": "use --interface",
    "ether[-4096+60:2] = 0x88a8": "-4036",
    "ether[-1048576] = 1": "-1048576",
    "ip[-4096] = 1": "-4082",
    "pppoes and inbound": "must stand before `pppoes`",
}


def _programs(*texts: str) -> list[bytes]:
    outcomes = compile_filters([FilterRequest(text, 1, 96) for text in texts])
    return [outcome for outcome in outcomes if isinstance(outcome, bytes)]


def test_words() -> None:
    """Those that libpcap's keywords load, and those that an offset spells."""
    programs = _programs(*WORDS)
    assert [ancillary(program) for program in programs] == list(WORDS.values())


def test_what_no_packet_tells() -> None:
    """Is an error that says what to do."""
    programs = _programs(*UNTOLD)
    for program, words in zip(programs, UNTOLD.values(), strict=True):
        for ask in (ancillary, lambda each: fold(each, tag=5, outbound=True)):
            with pytest.raises(FilterError, match=words):
                ask(program)


def test_folded() -> None:
    """As long as before, the jumps where they were, and only the loads changed."""
    [program] = _programs("outbound and vlan 5")
    folded = fold(program, tag=0xE005, outbound=True)
    pairs = zip(
        struct.iter_unpack("HBBI", program), struct.iter_unpack("HBBI", folded), strict=True
    )
    changed = [after for before, after in pairs if before != after]
    assert set(changed) == {(0, 0, 0, 4), (0, 0, 0, 1), (0, 0, 0, 0xE005)}
    assert ancillary(folded) == Word(0)
    [frame_only] = _programs("tcp port 80")
    assert fold(frame_only, tag=5, outbound=None) == frame_only


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("vlan", [True, True, True, False]),
        ("vlan 5", [True, False, True, False]),
        ("not vlan", [False, False, False, True]),
        ("vlan 0", [False, True, False, False]),
        ("ether[-4096+44:4] = 0xe005", [True, False, False, False]),
    ],
)
def test_tags(text: str, accepted: list[bool]) -> None:
    """The priority is in the TCI, VLAN 0 is a tag, and no tag is none."""
    [program] = _programs(text)
    tags = (0xE005, 0x2000, 5, None)
    folded = [fold(program, tag=tag, outbound=None) for tag in tags]
    assert [libpcap.accepts(each, bytes(60)) for each in folded] == accepted


def test_direction() -> None:
    """Known, it is folded; not known, it cannot be."""
    inbound, outbound = _programs("inbound", "outbound")
    for program, expected in ((inbound, [False, True]), (outbound, [True, False])):
        folded = [fold(program, tag=None, outbound=each) for each in (True, False)]
        assert [libpcap.accepts(each, bytes(60)) for each in folded] == expected
        with pytest.raises(ValueError, match="direction"):
            fold(program, tag=None, outbound=None)
