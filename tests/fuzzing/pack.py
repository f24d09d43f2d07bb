"""Inputs of pack.c: seeds of whole blocks, and what C and twin make of any input."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from tests.support import twin
from tests.support.packing import FILL, compiled

_HEAD = struct.Struct("=QQIHBB")  # struct arguments of pack.c
_EVERYTHING = (0, 2**64 - 1)


def seeds() -> Iterator[bytes]:
    """Blocks as the kernel makes them: lengths, tags and statuses of all kinds."""
    rng = random.Random(1)
    for number in range(12):
        packets = [
            twin.Packet(
                rng.randbytes(rng.choice((0, 11, 12, 13, 60))),
                status=rng.choice((1, 0x11, 0x51, 0x99, 0x1D9)),
                tci=rng.getrandbits(16),
                tpid=0x88A8,
                kind=rng.randrange(5),
            )
            for _ in range(1 + number % 3)
        ]
        snaplen = 40 if number % 4 == 0 else 262144
        yield _HEAD.pack(*_EVERYTHING, snaplen, 600, number % 3, number % 2) + twin.block(packets)


def check(data: bytes) -> None:
    """C and twin agree."""
    if len(data) < _HEAD.size + twin.BLOCK.size:
        return
    since, until, snaplen, room, start, direction = _HEAD.unpack_from(data)
    content = data[_HEAD.size :]
    results = []
    for pack in (compiled().pack, twin.pack):
        staging = twin.exact(bytes([FILL]) * (start + room))
        arguments = (staging, start, snaplen, bool(direction & 1), since, until)
        given = pack(twin.exact(content), 0, len(content), *arguments)
        results.append((given, bytes(staging)))
    assert results[0] == results[1]
