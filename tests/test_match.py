"""`_match` and `_merge` as Python calls them: sound input, and none."""

from __future__ import annotations

import random
import struct

import pytest

from tests import fuzz_match
from tests.support.match_twin import FILTERS
from tests.support.matching import match_module, matched, merge_module, ordered, packed, programs
from tests.support.survey_twin import ISB
from tests.support.surveying import block, epb

_PACKET = bytes(12) + b"\x08\x00" + bytes(46)
_CONTENT = b"".join(epb(_PACKET, stamp) for stamp in range(50))
_IFINDEX = struct.pack("<HBBI", 0x20, 0, 0, 0xFFFFF008)  # ld [SKF_AD_OFF + SKF_AD_IFINDEX]
_TAKE_ALL = struct.pack("<HBBI", 0x06, 0, 0, 1)


@pytest.mark.parametrize("text", FILTERS)
def test_every_filter_is_compiled(text: str) -> None:
    """So that what is compared with the twin is something."""
    assert text in programs(1)


def test_agrees_with_the_twin() -> None:
    for number in range(3000):
        fuzz_match.check(7, number)


@pytest.mark.fault(16)
def test_a_range() -> None:
    """Both ends to the nanosecond."""
    assert [stamp for stamp, _, _ in matched(_CONTENT, 0, len(_CONTENT), "ip", (10, 20))] == [
        *range(10, 20)
    ]


@pytest.mark.parametrize(("start", "limit"), [(-1, 0), (0, -1), (1, 0), (0, len(_CONTENT) + 1)])
def test_places_outside(start: int, limit: int) -> None:
    with pytest.raises(ValueError, match="outside of the content"):
        match_module().match(_CONTENT, start, limit, 1, b"", 0, 1)


@pytest.mark.parametrize(
    "program",
    [
        b"\x06",
        _IFINDEX + _TAKE_ALL,
        struct.pack("<HBBI", 0x05, 0, 0, 100) + _TAKE_ALL,  # a jump out of the program
        struct.pack("<HBBI", 0x05, 0, 0, 2**32 - 1) + _TAKE_ALL,  # a jump to itself
        struct.pack("<HBBI", 0x00, 0, 0, 0),  # no end
        struct.pack("<HBBI", 0x02, 0, 0, 99) + _TAKE_ALL,  # no such memory
        struct.pack("<HBBI", 0xF004, 0, 0, 1) + _TAKE_ALL,  # libpcap would end the process
        struct.pack("<HBBI", 0x21, 0, 0, 1) + _TAKE_ALL,
        _TAKE_ALL * 5000,
    ],
)
def test_no_program(program: bytes) -> None:
    """Nothing of it is run."""
    with pytest.raises(ValueError, match="no program"):
        match_module().match(_CONTENT, 0, len(_CONTENT), 1, program, 0, 100)


@pytest.mark.parametrize(
    "entry",
    [
        *((0, 0, 12), (0, 2**32 - 4, 100), (0, 4, 60), (0, 0, 2**19)),
        (0, 0, len(epb(_PACKET)) + 4),  # what is behind the block would be its options
        (0, len(_CONTENT), len(epb(_PACKET))),  # looks like a packet, and is statistics
    ],
)
def test_entries_of_another_content(entry: tuple[int, int, int]) -> None:
    """What does not belong together is refused, and nothing outside is read."""
    content = _CONTENT + block(ISB, epb(_PACKET)[8:-4])
    with pytest.raises(ValueError, match="not of its content"):
        merge_module().merge([(content, packed([entry]), 0, 0)], 1, bytearray(2**20), 10, False, 1)


@pytest.mark.fault(16)
def test_disorder() -> None:
    """Sorted as far as the window reaches; what is later counts as just so late."""
    rng = random.Random(1)
    stamps = [number * 10 + rng.randrange(100) for number in range(1000)]
    entries = [(stamp, place * 32, 32) for place, stamp in enumerate(stamps)]
    assert [key for key, _, _ in ordered(entries, 0, 200)] == sorted(stamps)
    assert ordered([(1000, 0, 32), (5, 32, 32)], 0, 100) == [(900, 32, 32), (1000, 0, 32)]
