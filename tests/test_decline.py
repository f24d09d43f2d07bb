"""How fast a disk fills, told from looks at it."""

from __future__ import annotations

import pytest

from capd.daemon.decline import STEPS, Decline


def rate_after(free: list[int], step: float = 0.5) -> float:
    """What the last of these looks tells."""
    decline = Decline()
    return [decline.look(number * step, value) for number, value in enumerate(free)][-1]


def test_steady_writing_is_a_rate() -> None:
    """All but one step of it."""
    free = [1000 - 10 * number for number in range(STEPS + 1)]
    assert rate_after(free) == pytest.approx(20 * (STEPS - 1) / STEPS)


def test_what_is_taken_at_once_is_none() -> None:
    for at in range(1, STEPS + 1):
        assert rate_after([1000] * at + [100] * (STEPS + 1 - at)) == 0


def test_too_few_looks_tell_nothing() -> None:
    assert rate_after([1000, 500, 0]) == 0


def test_space_that_grows_is_none() -> None:
    assert rate_after([100 * number for number in range(STEPS + 1)]) == 0


def test_what_was_deleted_does_not_hide_what_was_written() -> None:
    """Whether the file system shows it at once or a look later."""
    for late in (0, 1):
        decline, rate = Decline(), 0.0
        written = deleted = 0
        for number in range(STEPS + 1):
            shown = deleted
            if number == 3:
                decline.freed(500)
                deleted = 500
                shown = 0 if late else 500
            rate = decline.look(float(number), 10_000 - written + shown)
            written += 100
        assert rate >= 100 * (STEPS - 1) / STEPS - 1 if not late else rate > 0


def test_only_the_last_looks_count() -> None:
    busy = [10_000 - 100 * number for number in range(STEPS)]
    assert rate_after(busy + [busy[-1]] * (STEPS + 1)) == 0
