"""`_pack.pack` and its twin over blocks that lie, and over random ones: nothing leads outside."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import twin
from tests.support.packing import NEVER, Outcome, Pack, both, compiled, poked, run
from tests.support.twin import (
    BLOCK,
    FIRST_AT,
    LEAST_RECORD,
    MOST_CAPTURED,
    PACKETS_AT,
    USER,
    VLAN_VALID,
    Packet,
    block,
    exact,
)

pytestmark = pytest.mark.fault(19)

_FRAME = bytes(range(64))


@both
def test_block_anywhere_in_the_ring(pack: Pack) -> None:
    """Only the block itself is read, although others stand around it."""
    content = block([Packet(_FRAME)] * 3, 512)
    ring = exact(b"\xff" * 512 + content + b"\xff" * 512)
    staging = exact(bytes(4096))
    end, packets, malformed, *_ = pack(ring, 512, 512, staging, 0, MOST_CAPTURED, False, 0, NEVER)
    assert (end, packets, malformed) == (3 * 96, 3, 0)
    last = poked(content, PACKETS_AT, 4)  # a fourth packet would lie in the next block
    last = poked(last, BLOCK.size + 2 * 152, 152)
    ring = exact(bytes(512) + last + block([Packet(_FRAME)] * 3, 512))
    end, packets, malformed, *_ = pack(ring, 512, 512, staging, 0, MOST_CAPTURED, False, 0, NEVER)
    assert (packets, malformed) == (3, 1)


_THREE = block([Packet(_FRAME, nanoseconds=i) for i in range(3)], 4096)
_SIZE = 152  # of each record
_SECOND = BLOCK.size + _SIZE
_MOST = 4096 // LEAST_RECORD


@both
@pytest.mark.parametrize(
    ("offset", "value", "packets", "malformed"),
    [
        (PACKETS_AT, 2, 2, 0),  # the count is believed downwards ...
        (PACKETS_AT, 0, 0, 0),
        (PACKETS_AT, 4, 3, 1),  # ... and upwards as far as the chain goes
        (PACKETS_AT, 0xFFFFFFFF, 3, _MOST - 3),
        (FIRST_AT, 0, 0, 3),
        (FIRST_AT, BLOCK.size - 1, 0, 3),
        (FIRST_AT, 4096 - LEAST_RECORD + 1, 0, 3),
        (FIRST_AT, 4096, 0, 3),
        (FIRST_AT, 4097, 0, 3),
        (FIRST_AT, 0xFFFFFFFF, 0, 3),
        (FIRST_AT, 0xFFFFFFFC, 0, 3),
        (FIRST_AT, _SECOND, 2, 1),
        (_SECOND, 0, 2, 1),  # tp_next_offset
        (_SECOND, LEAST_RECORD - 1, 2, 1),
        (_SECOND, 2**32 - _SIZE, 2, 1),  # backwards
        (_SECOND, 4096 - _SECOND, 2, 1),
        (_SECOND, 0xFFFFFFFF, 2, 1),
        (_SECOND + 12, 0xFFFFFFFF, 2, 1),  # tp_snaplen
        (_SECOND + 12, 4096 - _SECOND - 82 + 1, 2, 1),
        (_SECOND + 12, 65, 2, 1),  # more than on the wire
        (_SECOND + 12, 63, 3, 0),
        (_SECOND + 16, 63, 2, 1),  # tp_len
        (_SECOND + 24, LEAST_RECORD - 1, 2, 1),  # tp_mac (and tp_net)
        (_SECOND + 24, LEAST_RECORD, 3, 0),
        (_SECOND + 24, 0, 2, 1),
        (_SECOND + 24, 4096 - _SECOND - 64, 3, 0),
        (_SECOND + 24, 4096 - _SECOND - 63, 2, 1),
        (_SECOND + 24, 0xFFFF, 2, 1),
    ],
)
def test_malformed(pack: Pack, offset: int, value: int, packets: int, malformed: int) -> None:
    """A header that leads outside costs its packet, a broken link what follows; no more."""
    got = run(pack, poked(_THREE, offset, value))
    assert (got.packets, got.malformed, len(got.records)) == (packets, malformed, packets)


@both
def test_unaligned_and_overlapping_packets(pack: Pack) -> None:
    """The kernel makes none, and none of them leads outside."""
    shifted = poked(b"".join([_THREE[:48], b"\0", _THREE[48:-1]]), FIRST_AT, 49)
    assert run(pack, shifted).written == run(pack, _THREE).written
    overlapping = poked(_THREE, BLOCK.size, LEAST_RECORD)
    got = run(pack, overlapping)
    assert got.packets + got.malformed == 3
    assert got.records[0].data == _FRAME


@both
@pytest.mark.parametrize("first", [24, 40, 47, 48, 49, 56])
def test_no_packet_begins_in_the_descriptor(pack: Pack, first: int) -> None:
    """However sound it looks."""
    head = block([], announced=1, first=first).ljust(first, b"\0")[:first]
    got = run(pack, head + Packet(_FRAME).record(last=True))
    assert got.packets == (first >= BLOCK.size)


@both
@pytest.mark.parametrize("step", range(1, 73))
def test_no_packet_begins_in_another_one_s_header(pack: Pack, step: int) -> None:
    """However sound it looks."""
    size = LEAST_RECORD - step
    inner = Packet(_FRAME).record(last=True)
    outer = Packet(bytes(400), mac=LEAST_RECORD, next_offset=step).record(last=False)
    content = bytearray(block([], 1024, announced=2))
    content[BLOCK.size : BLOCK.size + len(outer)] = outer
    inner = inner[max(0, size) :]  # the rest of it lies in the outer one's address: zeros
    at = BLOCK.size + max(step, LEAST_RECORD)
    content[at : at + len(inner)] = inner
    got = run(pack, bytes(content))
    if step >= LEAST_RECORD:
        assert [record.data for record in got.records[1:]] == [_FRAME]
    else:
        assert (got.packets, got.malformed) == (1, 1)


@both
@pytest.mark.parametrize("size", [48, 49, 115, 116, 117])
def test_tiny_blocks(pack: Pack, size: int) -> None:
    """Down to the descriptor alone."""
    content = block([Packet(mac=LEAST_RECORD)])[:size].ljust(size, b"\0")
    got = run(pack, content)
    assert got.packets == (size >= 48 + LEAST_RECORD)


_packets = st.builds(
    Packet,
    data=st.binary(max_size=80),
    seconds=st.integers(0, 2**32 - 1),
    nanoseconds=st.integers(0, 2**32 - 1),
    status=st.integers(0, 2**32 - 1) | st.sampled_from([USER, USER | VLAN_VALID]),
    tci=st.integers(0, 2**32 - 1),
    tpid=st.integers(0, 2**16 - 1),
    kind=st.integers(0, 255) | st.integers(0, 5),
    length=st.none() | st.integers(80, 2**32 - 1),
    mac=st.integers(LEAST_RECORD, 200),
)
_words = st.integers(0, 2**32 - 1) | st.integers(0, 300) | st.integers(2**32 - 300, 2**32 - 1)


Window = tuple[int, int]
_ALWAYS = (0, NEVER)
_instants = st.integers(0, 2**32 - 1).map(lambda seconds: seconds * 10**9)
_windows = st.tuples(_instants, _instants)


def agree(
    content: bytes, room: int, start: int, *, direction: bool, window: Window = _ALWAYS
) -> Outcome:
    """What both say, which must be the same to the last byte."""
    options = {"room": room, "start": start, "since": window[0], "until": window[1]}
    got, expected = (
        run(pack, content, snaplen=300, direction=direction, **options)
        for pack in (compiled().pack, twin.pack)
    )
    assert got == expected
    return got


@given(st.lists(_packets, max_size=12), st.integers(0, 9), st.booleans())
def test_valid_blocks(packets: list[Packet], start: int, direction: bool) -> None:
    """Every packet of a sound block is written, and both say the same."""
    got = agree(block(packets), 9 + 300 * len(packets), start, direction=direction)
    assert (got.packets, got.malformed) == (len(packets), 0)


@given(st.lists(_packets, max_size=12), _windows)
def test_windows(packets: list[Packet], window: Window) -> None:
    """Every packet of a sound block is inside or outside, and both say the same."""
    got = agree(block(packets), 300 * len(packets), 0, direction=False, window=window)
    assert (got.packets + got.overlap, got.malformed) == (len(packets), 0)
    assert all(window[0] <= record.stamp < window[1] for record in got.records)


@given(
    packets=st.lists(_packets, min_size=1, max_size=6),
    damage=st.lists(st.tuples(st.integers(0, 2**16), _words, st.sampled_from("BHI")), max_size=8),
    room=st.integers(0, 1000),
    start=st.integers(0, 9),
    direction=st.booleans(),
    window=st.just(_ALWAYS) | _windows,
)
def test_damaged_blocks(
    *,
    packets: list[Packet],
    damage: list[tuple[int, int, str]],
    room: int,
    start: int,
    direction: bool,
    window: Window,
) -> None:
    """The same for blocks with bytes and words in them changed at will."""
    content = bytearray(block(packets))
    for place, value, width in damage:
        size = struct.calcsize(width)
        at = place % (len(content) - size + 1)
        content[at : at + size] = value.to_bytes(4, sys.byteorder)[:size]
    agree(bytes(content), room + start, start, direction=direction, window=window)
