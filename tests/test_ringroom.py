"""What `capd check` says of a ring that holds too little."""

from __future__ import annotations

import pytest

from capd.daemon.ringroom import ring_doubts
from capd.ring import Geometry
from tests.test_keepsake import KEPT

MIB = 2**20
RESTART = (
    "v0: ring_size 256 MiB holds 0.18 s at link speed, less than twice the 150 ms of a restart; "
    "make it larger"
)
SLOW = (
    "v0: flush_interval {} ms fills the 64 blocks of the ring in {} s, however few packets come; "
    "make it longer, or ring_size larger"
)


@pytest.mark.parametrize(
    ("flush", "speed", "doubts"),
    [
        (10, None, [SLOW.format(10, 0.64)]),
        (15, 10**9, [SLOW.format(15, 0.96)]),
        (16, 10**9, []),
        (500, None, []),
        (10, 10**10, [RESTART]),  # a larger one helps with both
        (500, 10**10, [RESTART]),
    ],
)
def test_doubts(flush: int, speed: int | None, doubts: list[str]) -> None:
    wanted = KEPT.wanted
    plan = wanted.plan._replace(
        source=wanted.plan.source._replace(speed=speed), geometry=Geometry(4 * MIB, 64, flush)
    )
    assert list(ring_doubts("v0", wanted._replace(plan=plan))) == doubts
