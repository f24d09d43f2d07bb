"""Every byte of what a dead run left, changed: nothing that was not touched is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import fuzz_salvage
from tests.support import judge
from tests.support.need import need
from tests.support.remnants import (
    COUNT,
    PACKET,
    STREAM,
    WHOLE,
    Block,
    Place,
    blocks,
    closing,
    covered,
    frames,
    in_memory,
)

CONTENT = WHOLE + closing(COUNT, lost=3)
BLOCKS = list(blocks(CONTENT))
PACKETS = [block for block in BLOCKS if block.kind == PACKET]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """The folder of a ring."""
    with in_memory() as there:
        yield there


def check(place: Place, damaged: bytes) -> None:
    """All packets but those that differ from CONTENT are left, in their order, twice the same."""
    place.clear()
    outcome = place.salvage(damaged)
    if outcome.what == "set aside":
        assert place.files() == {place.damaged.name: damaged}
    else:
        assert outcome.what == "renamed"
        untouched = [
            STREAM.expected(number)
            for number, block in enumerate(PACKETS)
            if damaged[block.start : block.end] == CONTENT[block.start : block.end]
        ]
        result = place.result()
        found = frames(result)
        assert [frame for frame in found if frame in untouched] == untouched
        assert len(found) <= COUNT
        assert outcome.packets == len(found)
        assert covered(result) <= outcome.cut
        place.salvage_again()


def changed(offset: int, value: int) -> bytes:
    """With one byte changed."""
    return CONTENT[:offset] + bytes([value]) + CONTENT[offset + 1 :]


@pytest.mark.fault(23)
def test_every_byte_changed(place: Place) -> None:
    """One bit of it, and all."""
    for offset, value in enumerate(CONTENT):
        check(place, changed(offset, value ^ 1 << offset % 8))
        check(place, changed(offset, value ^ 0xFF))


@pytest.mark.fault(23)
@pytest.mark.parametrize("block", [*BLOCKS[:8], BLOCKS[-2], BLOCKS[-1]], ids=lambda b: str(b.start))
def test_every_value_in_a_length(place: Place, block: Block) -> None:
    """Of the lengths that a block begins and ends with, and of the packet in it."""
    places = [*range(block.start + 4, block.start + 8), *range(block.end - 4, block.end)]
    if block.kind == PACKET:
        places += range(block.start + 20, block.start + 28)
    for offset in places:
        for value in range(256):
            check(place, changed(offset, value))


@pytest.mark.fault(23)
def test_damaged_files_open(place: Place) -> None:
    """Those in which a packet has gone, as other people's tools read them."""
    need("tcpdump", "tshark", "capinfos")
    for block in PACKETS[::3]:
        for offset in (block.start + 4, block.start + 8, block.end - 1):
            place.clear()
            outcome = place.salvage(changed(offset, CONTENT[offset] ^ 0x41))
            judge.assert_clean(place.path / outcome.path)
            assert len(list(judge.packets(place.path / outcome.path))) == COUNT - 1


@st.composite
def damages(draw: st.DrawFn) -> bytes:
    """CONTENT with one stretch overwritten, behind the head."""
    start = draw(st.integers(BLOCKS[2].start, len(CONTENT)))
    size = draw(st.integers(0, len(CONTENT) - start))
    fills = st.sampled_from((bytes(size), b"\xff" * size))
    stretch = draw(st.one_of(fills, st.binary(min_size=size, max_size=size)))
    return CONTENT[:start] + stretch + CONTENT[start + size :]


@given(damages())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_overwritten(place: Place, damaged: bytes) -> None:
    """Zeros, ones, noise: all packets around it survive."""
    check(place, damaged)


@pytest.mark.fault(48)
def test_fuzz() -> None:
    """Several places at once, and any beginning; the same in every run."""
    for number in range(2000):
        fuzz_salvage.check(1, number)
