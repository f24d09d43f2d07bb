"""Inputs of survey.c: seeds of every kind of link, and what C and twin make of any input."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from tests import fuzz_survey
from tests.support import headers
from tests.support.surveying import agreed, head

_HEAD = struct.Struct("=HHhH")  # struct arguments of survey.c


def seeds() -> Iterator[bytes]:
    """Small segments."""
    rng = random.Random(1)
    for number, link_type in enumerate((1, *headers.LINKS, 0) * 2):
        content = head(link_type)
        content += b"".join(fuzz_survey._one(rng, link_type) for _ in range(2 + number % 3))
        yield _HEAD.pack(0, rng.randrange(len(content)), -1, number % 4 > 0) + content


def check(data: bytes) -> None:
    """C and twin agree."""
    if len(data) < _HEAD.size:
        return
    start, limit, link_type, _ = _HEAD.unpack_from(data)
    content = data[_HEAD.size :]
    if start <= limit <= len(content) and link_type >= -1:
        agreed(content, start, limit, link_type)
