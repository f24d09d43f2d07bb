"""What the clock may say before segments are as old as it says."""

from __future__ import annotations

from capd.daemon.trusted_clock import PROBATION, QUIET, STEP, TrustedClock
from capd.units import DURATIONS

SECOND, DAY = DURATIONS["s"], DURATIONS["d"]
YEAR = 365 * DAY
NOW = 1_790_000_000 * 10**9
UP = 90 * SECOND  # for which the machine had run


class Watch:
    """A clock that a test sets, and what is believed of it."""

    def __init__(self, now: int = NOW, newest: int = NOW - SECOND) -> None:
        self._trusted, self._now, self._passed = TrustedClock(), now, UP
        self._newest = newest
        self.believed = self.after(0)

    def after(self, passed: int, *, stepped: int = 0) -> int:
        self._passed += passed
        self._now += passed + stepped
        self.believed = self._trusted.look(self._now, self._passed, self._newest)
        return self.believed

    @property
    def late(self) -> int:
        """How far what is believed is behind what the clock says."""
        return self._now - self.believed


def test_a_clock_that_goes_as_it_should() -> None:
    """It is believed to the nanosecond, whatever small steps correct it."""
    watch = Watch()
    assert watch.late == 0
    for passed, stepped in ((DAY, 0), (30 * SECOND, STEP), (YEAR, -2 * SECOND), (0, STEP)):
        watch.after(passed, stepped=stepped)
        assert watch.late == 0


def test_one_wrong_answer() -> None:
    """Time goes on as it passes, and nothing is left of it when the clock is right again."""
    watch = Watch()
    assert watch.after(30 * SECOND, stepped=5 * YEAR) == NOW + 30 * SECOND
    assert watch.after(PROBATION - SECOND) == NOW + 29 * SECOND + PROBATION
    assert watch.after(SECOND, stepped=-5 * YEAR) == NOW + 30 * SECOND + PROBATION
    assert watch.late == 0
    assert watch.after(SECOND, stepped=5 * YEAR) == NOW + 31 * SECOND + PROBATION
    assert watch.late == 5 * YEAR, "the next one is on probation anew"


def test_a_clock_that_stays_ahead() -> None:
    """It is believed after a day; and a jump in that day begins another one."""
    watch = Watch()
    watch.after(SECOND, stepped=YEAR)
    watch.after(PROBATION - SECOND, stepped=YEAR)
    watch.after(PROBATION - SECOND)
    assert watch.late == 2 * YEAR
    watch.after(SECOND)
    assert watch.late == 0


def test_at_the_start() -> None:
    """What is known is the newest segment; without one there is nothing to lose."""
    watch = Watch(newest=NOW - 60 * DAY)
    assert watch.believed == NOW - 60 * DAY
    watch.after(PROBATION)
    assert watch.late == 0
    assert Watch(newest=0).late == 0
    assert Watch(newest=NOW - QUIET).late == 0, "no packet had come"
    assert Watch(newest=NOW - 2 * DAY).late == 0, "a file a day, and the newest is open"


def test_a_clock_that_was_set_back_by_mistake() -> None:
    """What it said before is believed again as soon as it says so."""
    watch = Watch()
    watch.after(SECOND, stepped=-YEAR)
    assert watch.late == 0
    watch.after(SECOND, stepped=YEAR)
    assert watch.late == 0
