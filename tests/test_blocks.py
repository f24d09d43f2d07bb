"""A real ring, block by block: the place in it is found whatever happened before."""

from __future__ import annotations

import struct

import pytest

from capd.capture.blocks import Blocks
from tests.support.rings import PER_BLOCK, Rig, rig

COUNT = 4  # blocks


def numbers(blocks: Blocks) -> list[int]:
    """Reads and releases everything that is ready."""
    found = []
    while blocks.ready:
        found.append(blocks.number)
        blocks.release()
    return found


def turn(ring: Rig, blocks: int) -> None:
    """Has this many blocks filled, read and released; the next one holds one packet."""
    reader = Blocks(ring.fd, ring.shape)
    ring.source.inject(1)
    for number in range(1, blocks + 1):
        ring.source.inject(PER_BLOCK)
        assert numbers(reader) == [number]


def frames(ring: Rig) -> tuple[int, int, int]:
    """What the kernel counted since it was last asked: packets, drops, freezes."""
    return struct.unpack("=3I", ring.socket.getsockopt(263, 6, 12))


def test_fresh_ring() -> None:
    """The kernel fills the first block; it tells how far it is."""
    with rig() as ring:
        blocks = Blocks(ring.fd, ring.shape)
        blocks.locate(0)
        assert (blocks.head, blocks.number, blocks.packets) == (0, 1, 0)
        assert not blocks.ready
        assert blocks.waiting() == 0
        ring.source.inject(5)
        assert (blocks.packets, blocks.ready) == (5, False)
        blocks.locate(0)
        assert blocks.head == 0


def test_full_block() -> None:
    """Its number, packets and length, once the next packet did not fit."""
    with rig() as ring:
        blocks = Blocks(ring.fd, ring.shape)
        ring.source.inject(PER_BLOCK + 1)
        assert blocks.ready
        assert blocks.waiting() == 1
        assert (blocks.number, blocks.packets) == (1, PER_BLOCK)
        assert PER_BLOCK * 1082 < blocks.length <= blocks.size
        blocks.release()
        assert (blocks.head, blocks.number, blocks.packets) == (1, 2, 1)
        assert (blocks.offset, blocks.ready) == (16384, False)


@pytest.mark.fault(19)
def test_a_length_that_lies_is_not_believed() -> None:
    """It is at most the block's."""
    with rig() as ring:
        blocks = Blocks(ring.fd, ring.shape)
        struct.pack_into("=I", blocks.memory, 20, 2**32 - 1)
        assert blocks.length == blocks.size


@pytest.mark.parametrize("waiting", range(COUNT))
@pytest.mark.parametrize("turns", range(2 * COUNT + 1))
def test_locate(waiting: int, turns: int) -> None:
    """After so many blocks were read and released, and while so many wait: anywhere in the ring.

    Whatever the process before had committed of those that wait is not read again.
    """
    with rig() as ring:
        turn(ring, turns)
        oldest = turns + 1
        ring.source.inject(PER_BLOCK * waiting)
        for committed in range(oldest - 1, oldest + waiting):
            after = Blocks(ring.fd, ring.shape)
            after.locate(committed)
            assert after.number == committed + 1
            assert after.waiting() == turns + waiting - committed


@pytest.mark.parametrize("waiting", range(COUNT))
@pytest.mark.parametrize("turns", [0, 1, COUNT, COUNT + 3])
def test_newest(waiting: int, turns: int) -> None:
    """The block that is being filled, wherever the reader is; when frozen, the last one."""
    with rig() as ring:
        turn(ring, turns)
        ring.source.inject(PER_BLOCK * waiting)
        blocks = Blocks(ring.fd, ring.shape)
        assert blocks.newest == turns + 1 + waiting
        ring.source.inject(PER_BLOCK * 2 * COUNT)
        assert blocks.newest == turns + COUNT


@pytest.mark.parametrize("turns", range(COUNT + 2))
def test_frozen_ring(turns: int) -> None:
    """Every block waits and packets are dropped; then the kernel goes on where it stopped."""
    with rig() as ring:
        turn(ring, turns)
        oldest = turns + 1
        ring.source.inject(PER_BLOCK * 2 * COUNT)
        assert frames(ring)[2] == 1
        for committed in range(oldest - 1, oldest + COUNT):
            after = Blocks(ring.fd, ring.shape)
            after.locate(committed)
            assert after.waiting() == oldest + COUNT - 1 - committed
        assert not after.ready
        ring.source.inject(PER_BLOCK + 1)
        assert numbers(after) == [oldest + COUNT]


@pytest.mark.parametrize("turns", range(COUNT + 1))
def test_frozen_ring_read_to_the_end(turns: int) -> None:
    """The one that reads on, and one that comes after it, find the same place."""
    with rig() as ring:
        turn(ring, turns)
        ring.source.inject(PER_BLOCK * 2 * COUNT)
        reader = Blocks(ring.fd, ring.shape)
        reader.locate(turns)
        assert numbers(reader) == [*range(turns + 1, turns + 1 + COUNT)]
        after = Blocks(ring.fd, ring.shape)
        after.locate(turns + COUNT)
        assert after.head == reader.head
        ring.source.inject(PER_BLOCK + 1)
        assert numbers(after) == [turns + 1 + COUNT]
