"""The clock of the machine, as all that is done here reads it: it goes on with the packets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from capd.units import SECOND

HOUR = 3600 * SECOND
DAY = 24 * HOUR
UNSET = 10 * DAY  # what it says after a boot without a battery
RIGHT = 1_772_366_400 * SECOND  # 2026-03-01 12:00
TICK = 10**6  # between two packets
STEPS = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "back": -HOUR // 2, "far back": -3 * DAY}
SETTINGS = {"unset": UNSET, "right": RIGHT, "ahead": RIGHT + 400 * DAY}


class Clock:
    """ns since 1970."""

    def __init__(self) -> None:
        self.now = RIGHT

    def tick(self) -> int:
        """The next packet comes."""
        self.now += TICK
        return self.now

    def set(self, how: str) -> None:
        """By a step, or to something."""
        self.now = SETTINGS[how] if how in SETTINGS else self.now + STEPS[how]

    @contextmanager
    def read_by_all(self) -> Iterator[None]:
        """Meanwhile this process and its children know no other."""
        real = time.time_ns
        time.time_ns = lambda: self.now
        try:
            yield
        finally:
            time.time_ns = real
