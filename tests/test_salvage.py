"""What a dead run leaves: cut, closed, named; never overwritten, never deleted unless empty."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from capd import pcapng
from capd.archive.pieces import PIECE
from capd.archive.salvage import COVER, DAMAGED, UNCLOSED
from tests.support import judge
from tests.support.frames import Shape, Stream
from tests.support.need import need
from tests.support.remnants import (
    COUNT,
    HEAD,
    NAME,
    PACKET,
    PADDING,
    STAMP,
    STATISTICS,
    STEP,
    STREAM,
    WHOLE,
    Place,
    blocks,
    closing,
    covered,
    expected,
    frames,
    in_memory,
    packet,
    packet_of,
    page_padding,
    unclosed,
)
from tests.support.statistics import InterfaceStatistics, interface_statistics

YEAR = 365 * 86400 * 10**9


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The folder of a ring."""
    return Place(tmp_path)


def comment(content: bytes) -> str:
    """What the last block, statistics, says in words."""
    last = list(blocks(content))[-1]
    assert last.kind == STATISTICS
    return pcapng.read_statistics(content[last.start : last.end]).comment


@pytest.mark.fault(22)
def test_cut_at_every_byte() -> None:
    """Every whole block is kept, and the file is a sound one; what is empty goes."""
    need("tcpdump", "tshark", "capinfos")
    content = WHOLE + closing(COUNT, lost=3)
    content += page_padding(len(content))
    ends = [block.end for block in blocks(content) if block.kind == PACKET]
    judged = 0
    with in_memory() as place:
        for cut in range(len(content) + 1):
            check_cut(place, content[:cut], sum(end <= cut for end in ends))
            if cut > ends[0] and cut % 97 == 0:
                judge.assert_clean(place.path / NAME)
                judged += 1
            place.clear()
    assert judged > 30


def check_cut(place: Place, content: bytes, whole: int) -> None:
    """A segment of which so many packets are left."""
    outcome = place.salvage(content)
    if len(content) <= len(HEAD):
        assert outcome.what == "removed"
        assert place.files() == {}
    elif not whole:
        assert outcome.what == "set aside"
        assert place.files() == {place.damaged.name: content}
    else:
        assert (outcome.what, outcome.path, outcome.packets) == ("renamed", NAME, whole)
        assert frames(place.result()) == expected(range(whole))
        assert PADDING not in {block.kind for block in blocks(place.result())}
        place.salvage_again()


def test_what_the_statistics_say(place: Place) -> None:
    """When nothing else is known: all that is there, and nothing lost."""
    last = STAMP + STEP * (COUNT - 1)
    outcome = place.salvage(WHOLE + packet(COUNT)[:-7])
    rest = len(packet(COUNT)) - 7
    assert outcome.cut == rest
    assert interface_statistics(place.path / NAME) == [
        InterfaceStatistics(last, STAMP, last, COUNT, None, 0, COUNT)
    ]
    assert comment(place.result()) == f"{UNCLOSED}; {rest} bytes cut off, 0 covered"
    assert comment(place.result()) in outcome.text


def test_losses_told_before_are_told_again(place: Place) -> None:
    """Of 12 packets lost, 12 dropped by the ring; packets came after that was told."""
    content = unclosed(5) + closing(5, lost=12, comment="the reason")
    content += b"".join(packet(number) for number in range(5, COUNT))
    place.salvage(content + b"\0" * 100)
    _, last = interface_statistics(place.path / NAME)
    assert (last.received, last.os_dropped, last.delivered) == (COUNT + 12, 12, COUNT)
    assert comment(place.result()) == f"{UNCLOSED}; 100 bytes cut off, 0 covered; the reason"


def test_a_loss_is_enough_for_a_segment(place: Place) -> None:
    """No packet, but statistics that tell of lost ones: that is evidence."""
    content = HEAD + closing(0, lost=12)
    outcome = place.salvage(content)
    assert (outcome.what, outcome.packets) == ("renamed", 0)
    assert outcome.path == NAME
    assert place.result() == content
    place.salvage_again()


def test_closed_without_a_name(place: Place) -> None:
    """Nothing is added to what a worker had completed, and page padding goes."""
    content = WHOLE + closing(COUNT, lost=3)
    for tail in (b"", page_padding(len(content))):
        outcome = place.salvage(content + tail)
        assert (outcome.what, outcome.cut) == ("renamed", 0)
        assert place.result() == content
        place.clear()


@pytest.mark.fault(24)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 11, 12, 4095, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
@pytest.mark.parametrize("kind", ["zero", "hole", "random", "ones"])
def test_tails(place: Place, size: int, kind: str) -> None:
    """Zeros that were reserved, and what a disk makes of them: all cut off."""
    tail = {"random": random.Random(size).randbytes(size), "ones": b"\xff" * size}
    place.part.write_bytes(WHOLE + tail.get(kind, b"\0" * size if kind == "zero" else b""))
    if kind == "hole":
        os.truncate(place.part, len(WHOLE) + size)
    outcome = place.salvage()
    assert (outcome.what, outcome.packets, outcome.cut) == ("renamed", COUNT, size)
    assert place.result()[: len(WHOLE)] == WHOLE
    assert [block.kind for block in blocks(place.result())][-2:] == [PACKET, STATISTICS]
    place.salvage_again()


def test_a_tail_of_a_tebibyte(place: Place) -> None:
    """A hole is passed over, not read."""
    place.part.write_bytes(WHOLE)
    os.truncate(place.part, 2**40)
    assert place.salvage().cut == 2**40 - len(WHOLE)
    assert frames(place.result()) == expected(range(COUNT))


@pytest.mark.fault(24)
def test_space_reserved_behind_the_end_is_released(place: Place) -> None:
    """As a worker's file has it, whose length is right already."""
    need("fallocate")
    content = WHOLE + closing(COUNT)
    place.part.write_bytes(content)
    argv = ["fallocate", "--keep-size", "--length", str(2**23), str(place.part)]
    subprocess.run(argv, check=True)
    assert place.part.stat().st_blocks * 512 >= 2**23
    place.salvage()
    assert (place.path / NAME).stat().st_blocks * 512 < 2**20


@pytest.mark.parametrize("size", [4096, COVER, COVER + 4, 2 * COVER + 8, 2 * PIECE + 4096])
@pytest.mark.parametrize("kind", ["zero", "hole", "random"])
def test_holes_in_the_middle(place: Place, size: int, kind: str) -> None:
    """Pages that never reached the disk: covered, and all packets behind them are kept."""
    need("tcpdump", "tshark", "capinfos")
    large = b"".join(packet_of(bytes(2000 + number % 3), STAMP) for number in range(size // 2000))
    content = WHOLE + large + b"".join(packet(number) for number in range(COUNT, 2 * COUNT))
    start, end = len(WHOLE) - 30, len(WHOLE) - 30 + size
    place.part.write_bytes(content)
    with place.part.open("r+b") as file:
        if kind == "hole":
            file.truncate(start)
            file.truncate(len(content))
            file.seek(end)
            file.write(content[end:])
        else:
            file.seek(start)
            file.write(bytes(size) if kind == "zero" else random.Random(size).randbytes(size))
    outcome = place.salvage()
    assert outcome.what == "renamed"
    result = place.result()
    kept = [frame for frame in frames(result) if len(frame) < 2000]
    assert kept == expected(range(COUNT - 1)) + expected(range(COUNT, 2 * COUNT))
    assert size <= covered(result) == outcome.cut <= size + 4096
    assert f"0 bytes cut off, {outcome.cut} covered" in comment(result)
    judge.assert_clean(place.path / outcome.path)
    place.salvage_again()


def test_damage_in_a_closed_segment(place: Place) -> None:
    """What was received stays; what cannot be read any more counts as lost."""
    content = bytearray(WHOLE + closing(COUNT, lost=3))
    third = list(blocks(bytes(content)))[4]
    content[third.start + 8] = 1  # of another interface
    outcome = place.salvage(bytes(content))
    assert outcome.cut == third.end - third.start
    _, last = interface_statistics(place.path / NAME)
    assert (last.received, last.os_dropped, last.delivered) == (COUNT + 3, 3, COUNT - 1)
    assert comment(place.result()).startswith(DAMAGED)
    place.salvage_again()


def test_covered_bytes_stay(place: Place) -> None:
    """All but the lengths around them: someone may still read them by hand."""
    content = bytearray(WHOLE)
    third = list(blocks(bytes(content)))[4]
    content[third.start + 8] = 1
    place.salvage(bytes(content))
    result = place.result()
    assert result[third.start + 8 : third.end] == content[third.start + 8 : third.end]


@pytest.mark.parametrize("where", [(0, 1), (4,), (5,), (8,), (22,), (4, 5, 6, 7, 8), (-1,)])
def test_pcapng_inside_a_packet_is_no_packet(place: Place, where: tuple[int, ...]) -> None:
    """A capture that was sent over the network, in a packet whose block is damaged."""
    inner = b"".join(packet(number) for number in range(50, 53))
    block = bytearray(packet_of(STREAM.expected(0)[:60] + inner + b"\1\2", STAMP))
    for offset in where:
        block[offset] ^= 0x10
    behind = b"".join(packet(number) for number in range(COUNT, 2 * COUNT))
    place.salvage(WHOLE + bytes(block) + behind)
    assert frames(place.result()) == expected(range(2 * COUNT))


def test_a_torn_packet_with_pcapng_inside(place: Place) -> None:
    """The last write of a run ended in the middle of it."""
    inner = b"".join(packet(number) for number in range(50, 53))
    block = packet_of(STREAM.expected(0)[:60] + inner + bytes(200), STAMP)
    outcome = place.salvage(WHOLE + block[:-100])
    assert (outcome.packets, outcome.cut) == (COUNT, len(block) - 100)


def test_the_clock_stepped_where_the_damage_is(place: Place) -> None:
    """Behind it, all stamps are years older: still packets."""
    behind = b"".join(packet(n, stamp=STAMP - 5 * YEAR + n) for n in range(COUNT, 2 * COUNT))
    outcome = place.salvage(WHOLE + random.Random(1).randbytes(400) + behind)
    assert (outcome.packets, outcome.cut) == (2 * COUNT, 400)
    assert outcome.path.startswith("2021-01-01/")


def test_a_lonely_block_far_from_the_others_is_none(place: Place) -> None:
    """Years away from all others, with nothing but noise behind it."""
    noise = random.Random(1).randbytes(400)
    stray = packet(50, stamp=STAMP - 5 * YEAR)
    assert place.salvage(WHOLE + noise + stray + noise).packets == COUNT
    place.clear()
    assert place.salvage(WHOLE + noise + packet(50) + noise).packets == COUNT + 1


def test_every_piece_of_a_large_file(place: Place) -> None:
    """Blocks lie across the edges of the pieces in which it is read."""
    need("tcpdump", "tshark", "capinfos")
    stream = Stream(Shape("odd", (61, 1514, 2999)))
    content = bytearray(unclosed(9000, stream))
    starts = [block.start for block in blocks(bytes(content)) if block.kind == PACKET]
    assert len(content) > 3 * PIECE
    broken = random.Random(1).sample(range(8999), 50)
    for number in broken:
        content[starts[number] + 8] = 1
    outcome = place.salvage(bytes(content) + b"\0" * PIECE)
    left = [number for number in range(9000) if number not in broken]
    assert judge.numbers([place.path / outcome.path], stream) == left
    judge.assert_clean(place.path / outcome.path)
    place.salvage_again()
