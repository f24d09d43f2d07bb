"""The system clock, which stamps the packets and dates the segments: that somebody set it is told.

What comes of that is others' business: what is recorded stays in the order in which it came, and
each packet is found by the stamp that it got.
"""

from __future__ import annotations

import time

from capd.events import Kind
from capd.journal import tell
from capd.times import clock
from capd.units import SECOND, about

STEP = SECOND // 2  # ns: what only corrects the clock is far from it between two looks
_AT_ONCE = SECOND // 100  # ns
_TRIES = 3


class Clock:
    """As it was at the last look."""

    def __init__(self) -> None:
        self._ahead = _ahead()

    def look(self) -> None:
        """Tell of a step since."""
        ahead, before = _ahead(), self._ahead
        if ahead is None:
            return
        self._ahead = ahead
        step = 0 if before is None else ahead - before
        if abs(step) < STEP:
            return
        now = time.time_ns()
        way = "forward" if step > 0 else "back"
        tell(
            Kind.CLOCK_SET,
            f"the system clock was set {way} by {about(round(abs(step), -8))}, "
            f"from {clock(now - step)} to {clock(now)} UTC: packets are stamped by it",
            step=step,
        )


def _ahead() -> int | None:
    """How far it is ahead of the time since the machine started, in ns; None: not known now."""
    for _ in range(_TRIES):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        found = time.time_ns()
        if time.clock_gettime_ns(time.CLOCK_BOOTTIME) - before < _AT_ONCE:
            return found - before
    return None
