"""What a ring that runs keeps when its link tells another speed, or none."""

from __future__ import annotations

import pytest

from capd.daemon.ringplan import RingPlan
from capd.daemon.running import Running
from capd.ring import Geometry
from tests.test_keepsake import KEPT

INDEX, ENTRY = KEPT.wanted.link_index, KEPT.wanted.entry
BLOCK = 4 * 2**20
SHAPE = Geometry(BLOCK, 64, 50)
LARGER = Geometry(BLOCK, 299, 50)
SMALLER = Geometry(BLOCK, 30, 50)
GIGABIT = 10**9


def ring(speed: int | None, index: int = INDEX) -> RingPlan:
    """One that runs."""
    plan = KEPT.wanted.plan
    source = plan.source._replace(speed=speed)
    return KEPT.wanted._replace(plan=plan._replace(source=source, geometry=SHAPE), link_index=index)


@pytest.mark.parametrize(
    ("known", "told", "reloaded", "kept"),
    [
        (GIGABIT, None, False, GIGABIT),
        (GIGABIT, None, True, GIGABIT),
        (GIGABIT, 10 * GIGABIT, False, GIGABIT),
        (GIGABIT, 10 * GIGABIT, True, 10 * GIGABIT),
        (None, GIGABIT, False, GIGABIT),
        (None, None, False, None),
        (None, None, True, None),
    ],
)
def test_speed(known: int | None, told: int | None, reloaded: bool, kept: int | None) -> None:
    assert Running([ring(known)], reloaded=reloaded).speed(INDEX, told) == kept


def test_a_link_without_a_ring_goes_by_what_it_tells() -> None:
    """Another link's ring is none of its own, whatever its name."""
    for running in (Running(reloaded=False), Running([ring(GIGABIT, INDEX + 1)], reloaded=False)):
        assert running.speed(INDEX, None) is None
        assert running.speed(INDEX, 10 * GIGABIT) == 10 * GIGABIT
        assert running.shape(INDEX, ENTRY, None, LARGER) == LARGER


@pytest.mark.parametrize("default", [SMALLER, SHAPE, LARGER])
def test_a_default_size_stays(default: Geometry) -> None:
    """Also where the machine's memory, and the default with it, has changed."""
    for speed in (None, GIGABIT):
        running = Running([ring(speed)], reloaded=False, room=2**40)
        assert running.shape(INDEX, ENTRY, speed, default) == SHAPE


def test_a_reload_and_another_entry_choose_anew() -> None:
    assert Running([ring(GIGABIT)]).shape(INDEX, ENTRY, GIGABIT, SMALLER) == SMALLER
    running = Running([ring(GIGABIT)], reloaded=False)
    assert running.shape(INDEX, "other*", GIGABIT, SMALLER) == SMALLER


def test_what_was_refused_of_a_reload_but_its_size_is_wanted_still() -> None:
    running = Running([ring(GIGABIT)], reloaded=False)
    wanted = running.shape(INDEX, ENTRY, GIGABIT, LARGER._replace(retire_ms=70))
    assert wanted == SHAPE._replace(retire_ms=70)


def test_the_first_speed_makes_it_larger_where_there_is_room() -> None:
    """Never smaller; and several rings together take no more than there is."""
    rings = [ring(None, index) for index in (1, 2, 3)]
    running = Running(rings, reloaded=False, room=2 * LARGER.size)
    assert running.shape(1, ENTRY, GIGABIT, SMALLER) == SHAPE
    shapes = [running.shape(index, ENTRY, 10 * GIGABIT, LARGER) for index in (1, 2, 3)]
    assert shapes == [LARGER, LARGER, SHAPE]
