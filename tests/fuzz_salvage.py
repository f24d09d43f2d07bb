"""Salvages segments that are damaged in several places.

`tests/support/fuzzing.py` has the command line.
"""

from __future__ import annotations

import random
import struct

from tests.support.fuzzing import main
from tests.support.remnants import (
    HEAD,
    STREAM,
    closing,
    frames,
    in_memory,
    packet,
    page_padding,
)

_NOTABLE = (0, 1, 4, 5, 6, 11, 12, 32, 64, 4096, 262144, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF)


def _segment(rng: random.Random) -> bytes:
    count = rng.choice((0, 1, 2, 10, 60))
    content, lost = HEAD, 0
    for number in range(count):
        if rng.random() < 0.05:
            lost += rng.getrandbits(10)
            content += closing(number, lost)
        content += packet(number)
    if rng.random() < 0.3:
        content += closing(count, lost)
    return content + (page_padding(len(content)) if rng.random() < 0.5 else b"")


def _damage(rng: random.Random, content: bytearray) -> None:
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        place = rng.randrange(len(content))
        kind = rng.randrange(5)
        if kind == 0:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place + 4 <= len(content):
            word = rng.choice((*_NOTABLE, len(content) - place, rng.getrandbits(32)))
            struct.pack_into("=I", content, place // 4 * 4, word)
        elif kind == 2:
            size = rng.choice((1, 4, 60, 512, 4096))
            content[place : place + size] = bytes(len(content[place : place + size]))
        elif kind == 3:
            del content[place:]
            content += bytes(rng.choice((0, 1, 512, 5000)))
        else:
            content += rng.randbytes(rng.choice((1, 3, 4, 40, 5000)))
        if not content:
            return


def check(seed: int, number: int) -> None:
    """One round; AssertionError unless it ends as it must, and all the same the second time."""
    rng = random.Random(f"{seed}:{number}")
    content = bytearray(_segment(rng))
    _damage(rng, content)
    where = f"seed {seed}, round {number}"
    with in_memory() as place:
        outcome = place.salvage(bytes(content))
        if outcome.what == "set aside":
            assert place.files() == {place.damaged.name: content}, where
        elif outcome.what == "removed":
            _check_nothing(bytes(content), where)
            assert place.files() == {}, where
        else:
            assert outcome.what == "renamed", (where, outcome)
            assert len(frames(place.result())) == outcome.packets, where
            place.salvage_again()


def _check_nothing(content: bytes, where: str) -> None:
    for number in range(60):
        assert STREAM.expected(number) not in content, where


if __name__ == "__main__":
    main(check)
