"""What the clock may say before segments are as old as it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capd.config import load
from capd.daemon.trusted_clock import BOOTING, PROBATION, QUIET, STEP, TrustedClock
from capd.daemon.upkeep import quiet_of
from capd.units import DURATIONS

SECOND, HOUR, DAY = DURATIONS["s"], DURATIONS["h"], DURATIONS["d"]
YEAR = 365 * DAY
NOW = 1_790_000_000 * 10**9
UP = 100 * DAY  # for which the machine had run
BOOTED = 90 * SECOND  # the same of one that has just booted


class Watch:
    """A clock that a test sets, and what is believed of it."""

    def __init__(self, *stamps: int, now: int = NOW, up: int = UP) -> None:
        self._trusted, self._now, self._passed = TrustedClock(), now, up
        self.begin([stamps or (NOW - SECOND,)])

    def begin(self, rings: Sequence[Sequence[int]]) -> None:
        self._trusted.begin(self._now, self._passed, rings)
        self.believed = self.after(0)

    def after(self, passed: int, *, stepped: int = 0) -> int:
        self._passed += passed
        self._now += passed + stepped
        self.believed = self._trusted.look(self._now, self._passed)
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
    """It is believed after a day, as far as it was ahead all the time; the rest a day later."""
    watch = Watch()
    watch.after(SECOND, stepped=YEAR)
    watch.after(PROBATION - SECOND, stepped=YEAR)
    assert watch.late == 2 * YEAR
    watch.after(SECOND)
    assert watch.late == YEAR
    watch.after(PROBATION - SECOND)
    assert watch.late == YEAR
    watch.after(SECOND)
    assert watch.late == 0


def test_one_that_is_not_always_so_far_ahead() -> None:
    """Only what it was ahead at least is believed."""
    watch = Watch()
    watch.after(0, stepped=5 * YEAR)
    watch.after(HOUR, stepped=-4 * YEAR)
    watch.after(HOUR, stepped=4 * YEAR)
    watch.after(PROBATION)
    assert watch.late == 4 * YEAR


def test_a_machine_that_is_saved_each_night() -> None:
    """Its time stands still meanwhile: what is believed does not fall behind without end."""
    watch = Watch()
    for _ in range(100):
        watch.after(12 * HOUR, stepped=12 * HOUR)
        assert watch.late <= 2 * DAY


def test_at_the_start() -> None:
    """What is known is the newest segment."""
    watch = Watch(NOW - 60 * DAY)
    assert watch.believed == NOW - 60 * DAY
    watch.after(PROBATION)
    assert watch.late == 0
    assert Watch(NOW - QUIET).late == 0, "no packet had come"
    assert Watch(NOW - 2 * DAY).late == 0, "a file a day, and the newest is open"


def test_files_of_a_month(tmp_path: Path) -> None:
    """The newest that is finished began up to two months ago."""
    path = tmp_path / "capd.toml"
    for interval, quiet in (("30d", 60 * DAY), ("1d", QUIET)):
        path.write_text(
            '[[interface]]\nname = "v0"\n'
            f'[[interface]]\nname = "v1"\nrotate_interval = "{interval}"\n'
        )
        assert quiet_of(load(str(path))) == quiet
    for quiet, late in ((QUIET, 60 * DAY), (60 * DAY, 0)):
        trusted = TrustedClock()
        trusted.quiet = quiet
        trusted.begin(NOW, UP, [[NOW - 60 * DAY]])
        assert NOW - trusted.look(NOW, UP) == late


def test_nothing_is_old_without_a_segment() -> None:
    """The directory that has none may be looked at before the one that has some."""
    watch = Watch(1)
    assert watch.believed == 0
    watch.begin([[]])
    assert watch.believed == 0
    watch.begin([[NOW - YEAR]])
    assert watch.late == YEAR


def test_a_second_directory() -> None:
    """The newest segment of both counts, whichever is looked at first."""
    old, new = NOW - 30 * DAY, NOW - DAY
    watch = Watch(old)
    assert watch.late == 30 * DAY
    watch.begin([[old, new], []])
    assert watch.late == 0
    watch = Watch(new)
    watch.begin([[old]])
    assert watch.late == 0


def test_a_machine_that_boots_with_a_clock_that_is_behind() -> None:
    """It is no jump that sets it right, but what goes beyond a week after the newest segment is."""
    for behind in (YEAR, HOUR // 2):
        watch = Watch(NOW, now=NOW - behind, up=BOOTED)
        assert watch.late == 0
        watch.after(2 * HOUR, stepped=behind + 6 * DAY)
        assert watch.late == 0
        watch.after(SECOND, stepped=YEAR)
        assert watch.late == YEAR
    watch = Watch(NOW, now=NOW - HOUR // 2, up=BOOTED)  # saved when it was shut down
    watch.after(BOOTING, stepped=DAY)
    assert watch.late == DAY, "a day later that is a jump as any other"


def test_a_stamp_that_is_far_ahead() -> None:
    """It proves nothing unless it is the last, and the machine boots."""
    for up, stamps in ((BOOTED, (NOW - DAY, NOW + 5 * YEAR, NOW)), (UP, (NOW, NOW + 5 * YEAR))):
        watch = Watch(*stamps, up=up)
        watch.after(SECOND, stepped=5 * YEAR)
        assert watch.late == 5 * YEAR
    assert Watch(NOW - DAY, NOW + 5 * YEAR, NOW, now=NOW + 6 * YEAR).late == 6 * YEAR
    assert Watch(NOW - YEAR, NOW + 5 * YEAR).late == YEAR


def test_a_clock_that_was_set_back_by_mistake() -> None:
    """What it said before is believed again as soon as it says so."""
    watch = Watch()
    watch.after(SECOND, stepped=-YEAR)
    assert watch.late == 0
    watch.after(SECOND, stepped=YEAR)
    assert watch.late == 0
