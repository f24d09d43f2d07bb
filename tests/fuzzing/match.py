"""Inputs of match.c: seeds with libpcap's own programs, and what C and twin make of any input."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from tests import fuzz_match
from tests.support.match_twin import ENTRY
from tests.support.matching import matched, merged, ordered, programs

_HEAD = struct.Struct("=QQQQIHHBBBB4x")  # struct arguments of match.c
_INSTRUCTION = 8
_ETHERNET, _CLASSIC, _FEW = 1, 2, 4


def seeds() -> Iterator[bytes]:
    """A few blocks for each program, some with entries that are not of a match."""
    rng = random.Random(1)
    for number, program in enumerate(list(programs(1).values()) * 3):
        blocks = [fuzz_match._one(rng) for _ in range(1 + number % 3)]
        since, until = ((0, 2**64 - 1), (200, 800))[number % 2]
        snaplen = 30 if number % 3 == 0 else 262144
        entries = ENTRY.pack(7, 0, len(blocks[0])) if number % 5 == 4 else b""
        counts = (len(program) // _INSTRUCTION, len(entries) // ENTRY.size)
        flags = _ETHERNET | _CLASSIC * (number % 4 == 0)
        head = _HEAD.pack(since, until, 2**63, 100, snaplen, 0, 0, *counts, flags, 3)
        yield head + program + entries + b"".join(blocks)


def check(data: bytes) -> None:
    """C and twin agree, where the program is one that the twin knows."""
    if len(data) < _HEAD.size:
        return
    since, until, up_to, window, snaplen, start, cut, *rest = _HEAD.unpack_from(data)
    instructions, foreign, flags, most = rest
    at = _HEAD.size + instructions * _INSTRUCTION
    known = {program: text for text, program in programs(1).items()}
    text = known.get(data[_HEAD.size : at])
    content = data[at + foreign * ENTRY.size :]
    limit = len(content) - cut
    if text is None or foreign or start > limit or not flags & _ETHERNET:
        return
    runs = []
    for number, each in enumerate((text, "")):
        entries = matched(content, start, limit, each, (since, until))
        runs.append((content, ordered(entries, 0, window), 0, number))
    number = most if flags & _FEW else 2**63
    classic = bool(flags & _CLASSIC)
    merged(runs, up_to, snaplen, classic=classic, most=number, room=2**14)
