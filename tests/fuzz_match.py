"""Feeds damaged blocks to `_match`, `_merge` and their twins; tests/support/fuzzing.py runs it."""

from __future__ import annotations

import random
import struct

from capd import pcapng
from tests.support import headers
from tests.support.fuzzing import main
from tests.support.match_twin import FILTERS, Run
from tests.support.matching import ROOM, matched, merged, ordered
from tests.support.surveying import block, epb, isb

_NOTABLE = (0, 1, 3, 4, 5, 6, 12, 16, 20, 28, 32, 33, 262144, 262145, 327712, 2**31, 2**32 - 4)


def _flags(rng: random.Random) -> bytes:
    told = struct.pack("<HHI", 2, 4, rng.choice((0, 1, 2, 6, 2**32 - 1)))
    return rng.choice((b"", told + bytes(4), told, struct.pack("<HHI", 1, 4, 0) + told))


def _one(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.8:
        data = headers.packet(rng)
        whole = epb(data, rng.randrange(1000), original=len(data) + rng.choice((0, 0, 9)))
        return block(6, whole[8:-4] + _flags(rng))
    if kind < 0.9:
        return isb(rng.getrandbits(64), [(4, bytes(8))])
    return rng.choice((pcapng.padding(rng.choice((12, 400))), block(rng.choice((1, 3)), bytes(20))))


def _run(rng: random.Random, interface: int) -> Run:
    content, places = bytearray(), [0]
    for _ in range(rng.randrange(1, 12)):
        places.append(len(content))
        content += _one(rng)
    for _ in range(rng.choice((0, 0, 1, 2))):
        near = rng.choice(places) + rng.choice((-4, 0, 4, 8, 20, 24))
        at = min(max(0, rng.choice((near, rng.randrange(len(content))))), len(content) - 4)
        value = rng.choice((rng.choice(_NOTABLE), rng.randrange(2**32)))
        struct.pack_into("<I", content, at, value)
    start = rng.choice((0, 0, rng.choice(places)))
    limit = rng.choice((len(content), rng.randrange(start, len(content) + 1)))
    text = rng.choice(list(FILTERS))
    within = rng.choice(((0, 2**64 - 1), (200, 800)))
    entries = matched(bytes(content), start, limit, text, within)
    sound = ordered(entries, rng.choice((0, 500)), rng.choice((0, 50, 2000)))
    return bytes(content), sound, rng.choice((0, 0, 1)), interface


def check(seed: int, number: int) -> None:
    """One round; AssertionError when the twins do not agree."""
    rng = random.Random(f"{seed}:{number}")
    runs = [_run(rng, interface) for interface in range(rng.randrange(1, 4))]
    merged(
        runs,
        rng.choice((2**63, 500)),
        rng.choice((262144, 262144, 1, 30, 41)),
        classic=rng.random() < 0.3,
        most=rng.choice((2**63, 3)),
        room=rng.choice((ROOM, 2**12)),
    )


if __name__ == "__main__":
    main(check)
