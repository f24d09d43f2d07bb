"""Any bytes as a segment that a dead run left.

What must hold: all packets up to the first damage are in what is made of it, it is nothing but
whole blocks, only what holds neither packet nor loss is removed, and a second run changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests import fuzz_salvage
from tests.support.remnants import HEAD, closing, frames, in_memory, packet
from tests.support.survey_twin import UNTOLD, survey


def seeds() -> Iterator[bytes]:
    """Whole, closed, cut off and damaged ones."""
    rng = random.Random(1)
    yield from (
        b"",
        HEAD,
        HEAD + closing(0, 3),
        HEAD + closing(0),
        HEAD + packet(0),
        HEAD + packet(0) + closing(1, 2),
        HEAD[:60] + bytes(9),
    )
    for _ in range(12):
        content = bytearray(HEAD + b"".join(map(packet, range(3))) + closing(3, 0, "why"))
        fuzz_salvage._damage(rng, content)
        yield bytes(content[:2000])


def check(data: bytes) -> None:
    """Salvage it twice."""
    end, _, link_type, packets, _, _, lost, *_ = survey(data, 0, len(data), -1, False)
    with in_memory() as place:
        outcome = place.salvage(data)
        files = place.files()
        if outcome.what == "set aside":
            assert files == {place.damaged.name: data}
        elif outcome.what == "removed":
            assert files == {}
            assert packets == 0
            assert lost in {0, UNTOLD}
        else:
            assert outcome.what == "renamed", outcome
            found = frames(place.result())
            assert len(found) == outcome.packets
            assert link_type >= 0
            assert found[:packets] == frames(data[:end])
            place.salvage_again()
