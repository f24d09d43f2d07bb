"""Feeds damaged blocks to `_pack.pack` and its twin; tests/support/fuzzing.py runs it."""

from __future__ import annotations

import random
import struct

from tests.support import twin
from tests.support.fuzzing import main
from tests.support.packing import compiled

_NOTABLE = (0, 1, 4, 11, 12, 13, 47, 48, 67, 68, 82, 255, 4096, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_STATUS = (1, 0x11, 0x51, 0x99, 0x1D9, 0xFFFFFFFF)


def _packet(rng: random.Random) -> twin.Packet:
    data = rng.randbytes(rng.choice((0, 3, 11, 12, 13, 60, 61, 62, 300)))
    return twin.Packet(
        data,
        seconds=rng.getrandbits(32),
        nanoseconds=rng.getrandbits(32),
        status=rng.choice(_STATUS),
        tci=rng.getrandbits(32),
        tpid=rng.getrandbits(16),
        kind=rng.getrandbits(3),
        length=rng.choice((len(data), len(data) + 5, 1500, 2**32 - 1)),
        mac=rng.choice((68, 82, 98, 99)),
    )


def _damage(rng: random.Random, content: bytearray, packets: list[twin.Packet]) -> None:
    places, at = [12, 16, 20], twin.BLOCK.size
    for packet in packets:  # where lengths and offsets stand
        places += [at, at + 12, at + 16, at + 20, at + 24]
        at += len(packet.record(last=False))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5))):
        near = rng.randrange(len(content) + 8)
        value = rng.choice((rng.choice(_NOTABLE), near, 2**32 - near, rng.getrandbits(32)))
        place = rng.choice((rng.choice(places), rng.randrange(len(content) - 3)))
        struct.pack_into("=I", content, place, value & 0xFFFFFFFF)
    del content[rng.choice((len(content), rng.randrange(twin.BLOCK.size, len(content) + 1))) :]


def check(seed: int, number: int) -> None:
    """One round; AssertionError when the two do not agree."""
    rng = random.Random(f"{seed}:{number}")
    packets = [_packet(rng) for _ in range(rng.randrange(1, 8))]
    content = bytearray(twin.block(packets))
    _damage(rng, content, packets)
    start = rng.choice((0, 0, 1, 3))
    room = start + rng.choice((len(content), rng.randrange(len(content) + 1)))
    snaplen, direction = rng.choice((60, 262144)), rng.random() < 0.5
    middle = packets[len(packets) // 2]
    stamp = middle.seconds * 10**9 + middle.nanoseconds
    since, until = rng.choice(((0, 2**64 - 1), (stamp, 2**64 - 1), (0, stamp), (stamp, stamp + 1)))
    results = []
    for pack in (compiled().pack, twin.pack):
        staging = twin.exact(b"\xa5" * room)
        ring = twin.exact(content)
        given = pack(ring, 0, len(content), staging, start, snaplen, direction, since, until)
        results.append((given, bytes(staging), bytes(ring) == content))
    if results[0] != results[1] or not results[0][2]:
        raise AssertionError(f"seed {seed}, round {number}: {results[0]} instead of {results[1]}")


if __name__ == "__main__":
    main(check)
