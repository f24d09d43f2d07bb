"""Feeds damaged segments to `_survey.survey` and its twin; tests/support/fuzzing.py runs it."""

from __future__ import annotations

import random
import struct

from capd import pcapng
from tests.support import headers
from tests.support.fuzzing import main
from tests.support.survey_twin import CUSTOM, IDB, ISB, LOCAL, NAMES, SHB, SIMPLE_PACKET
from tests.support.surveying import agreed, block, epb, head, isb

_NOTABLE = (0, 1, 3, 4, 5, 6, 8, 9, 11, 12, 13, 20, 24, 28, 32, 262144, 262145, 327712, 327716)
_KINDS = (0, IDB, 2, SIMPLE_PACKET, NAMES, 5, 6, CUSTOM, SHB, LOCAL, 0xFFFFFFFF)


def _options(rng: random.Random) -> list[tuple[int, bytes]]:
    codes = rng.choices((0, 1, 4, 4, 7, 7, 8, 8, 9), k=rng.randrange(5))
    return [(code, rng.randbytes(rng.choice((8, 8, 8, 8, 7, 0, 9)))) for code in codes]


def _one(rng: random.Random, link_type: int) -> bytes:
    kind = rng.random()
    if kind < 0.7:
        data = headers.packet(rng, link_type)
        return epb(data, rng.getrandbits(64), original=len(data) + rng.choice((0, 0, 9)))
    if kind < 0.8:
        whole = isb(rng.getrandbits(64), _options(rng))[8:-4]
        return block(ISB, whole[: len(whole) - rng.choice((0, 0, 0, 4, 8))])
    if kind < 0.85:
        now, received, dropped, written = (rng.getrandbits(40) for _ in range(4))
        return pcapng.statistics(now, 0, now, received, dropped, written, "comment")
    if kind < 0.9:
        return pcapng.padding(rng.choice((12, 16, 400)))
    return block(rng.choice(_KINDS), bytes(rng.choice((0, 4, 20, 60))))


def _damage(rng: random.Random, content: bytearray, places: list[int]) -> None:
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        value = rng.choice((rng.choice(_NOTABLE), rng.randrange(2**32), 2**32 - 4))
        near = rng.choice(places) + rng.choice((-4, 0, 4, 8, 20, 24))
        at = rng.choice((near, rng.randrange(len(content))))
        struct.pack_into("<I", content, min(max(0, at), len(content) - 4), value)
    del content[rng.choice((len(content), len(content), rng.randrange(len(content) + 1))) :]


def check(seed: int, number: int) -> None:
    """One round; AssertionError when the two do not agree."""
    rng = random.Random(f"{seed}:{number}")
    link_type = rng.choice((1, 1, 1, *headers.LINKS, 0, 127))
    content, places = bytearray(head(link_type)), [0]
    for _ in range(rng.randrange(8)):
        places.append(len(content))
        content += _one(rng, link_type)
    _damage(rng, content, places)
    start = rng.choice((0, 0, 0, rng.choice(places), rng.randrange(len(content) + 1)))
    start = min(start, len(content))
    limit = rng.choice((len(content), rng.randrange(start, len(content) + 1)))
    agreed(bytes(content), start, limit, -1 if start == 0 else link_type)


if __name__ == "__main__":
    main(check)
