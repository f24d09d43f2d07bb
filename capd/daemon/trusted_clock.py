"""What time it is for segments and holds: a clock that jumped ahead is not believed at once.

What is deleted is gone for ever, and one wrong answer of a time server, or of the machine's own
clock when it starts, makes every segment old and ends every hold that ends by itself.  So time goes
on here as it passes: from what the clock said before it jumped or, at the start, from the newest
segment there is.  A clock that stays ahead for a day is believed.  Going back it is believed at
once: that only makes younger.  Pure: times are ns, `passed` of a clock that never steps.
"""

from __future__ import annotations

from capd.units import DURATIONS

PROBATION = DURATIONS["d"]
STEP = DURATIONS["h"]  # what is no more than that is believed at once
QUIET = 7 * DURATIONS["d"]  # the same at the start: the newest segment may have begun long ago


class TrustedClock:
    """As its owner looks at it, again and again."""

    def __init__(self) -> None:
        self._ahead: int | None = None  # what is believed: ns that the clock is ahead of `passed`
        self._doubted: tuple[int, int] | None = None  # what it was when that began, and when

    def look(self, now: int, passed: int, newest: int) -> int:
        """The time since 1970, `now` at most, that is beyond doubt.

        `newest`: when the newest segment began that is not from the future; 0 for none.
        """
        ahead = now - passed
        if self._ahead is None:
            self._ahead = newest - passed if newest and now - newest > QUIET else ahead
        if ahead <= self._ahead + STEP:
            self._believe(ahead)
        elif self._doubted is None or ahead > self._doubted[0] + STEP:
            self._doubted = ahead, passed
        elif passed - self._doubted[1] >= PROBATION:
            self._believe(ahead)
        return min(now, passed + self._ahead)

    def _believe(self, ahead: int) -> None:
        self._ahead, self._doubted = max(self._ahead or ahead, ahead), None
