"""When the archive process pauses, and which level it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.archive.pace import SILENCE, Pace, level_for
from capd.units import SECOND


def paused(pace: Pace, now: int) -> bool:
    """With no backlog."""
    return pace.decide(now, 0, 3).paused


def test_nothing_before_a_word_of_the_load() -> None:
    """Whatever the clock shows."""
    pace = Pace()
    assert paused(pace, 0)
    assert paused(pace, 10**18)
    pace.hear(10**18, 0.0, late=False)
    assert not paused(pace, 10**18)


def test_a_full_disk_is_a_reason_to_move() -> None:
    """Not to compress, which takes room first; and silence is a pause for all."""
    pace = Pace()
    pace.hear(0, 1.0, late=True, full=True)
    assert pace.decide(0, 0, 3)[::2] == (True, True)
    assert pace.decide(SILENCE + 1, 0, 3)[::2] == (True, False)
    pace.hear(SECOND, 0.2, late=False)
    assert pace.decide(SECOND, 0, 3)[::2] == (True, False), "the ring has not drained yet"
    pace.hear(2 * SECOND, 0.0, late=False)
    assert pace.decide(2 * SECOND, 0, 3)[::2] == (False, True)


def test_silence_is_a_pause() -> None:
    """Until something is heard again."""
    pace = Pace()
    pace.hear(0, 0.0, late=False)
    assert not paused(pace, SILENCE)
    assert paused(pace, SILENCE + 1)
    pace.hear(2 * SILENCE, 0.0, late=False)
    assert not paused(pace, 2 * SILENCE + SECOND)


def test_a_filling_ring_is_a_pause_until_it_has_drained() -> None:
    """Not already when it is a little less full."""
    pace = Pace()
    heard = []
    for now, filled in enumerate([0.0, 0.2, 0.25, 0.26, 0.2, 0.1, 0.09, 0.2]):
        pace.hear(now, filled, late=False)
        heard.append(paused(pace, now))
    assert heard == [False, False, False, True, True, True, False, False]


def test_a_late_disk_is_a_pause() -> None:
    """Also with empty rings."""
    pace = Pace()
    pace.hear(0, 0.0, late=True)
    assert paused(pace, 0)
    pace.hear(1, 0.0, late=False)
    assert not paused(pace, 1)


@pytest.mark.parametrize(
    ("backlog", "levels"),
    [
        (0, {19: 19, 3: 3, -7: -7}),
        (8, {19: 19, 3: 3, -7: -7}),
        (9, {19: 1, 3: 1, -7: -7}),
        (16, {19: 1, 3: 1, -7: -7}),
        (17, {19: -5, 3: -5, -7: -7}),
        (32, {19: -5, 3: -5, -7: -7}),
        (33, {19: None, 3: None, -7: None}),
    ],
)
def test_a_backlog_lowers_the_level(backlog: int, levels: dict[int, int | None]) -> None:
    """Never raises it; and at last it is left raw."""
    assert {level: level_for(backlog, level) for level in levels} == levels


@given(st.integers(-100, 22), st.integers(0, 100), st.integers(0, 100))
def test_more_is_never_slower(level: int, less: int, more: int) -> None:
    """Between any two backlogs."""
    before, after = level_for(min(less, more), level), level_for(max(less, more), level)
    assert after is None or (before is not None and after <= before)
