"""What time it is for segments and holds: a clock that jumped ahead is not believed at once.

What is deleted is gone for ever, and one wrong answer of a time server, or of the machine's own
clock when it starts, makes every segment old and ends every hold that ends by itself.  So time goes
on here as it passes: from what the clock said before it jumped or, at the start, from the newest
segment there is.  As far ahead as a clock stays for a day it is believed.  Going back it is
believed at once: that only makes younger.  Where a machine boots with a clock that is behind, what
sets it right is no jump: within a week after the newest segment it is believed.  Times are ns,
`passed` of a clock that counts since the machine booted and never steps.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from capd.numbering import CLOCK_SET
from capd.units import DURATIONS, MAX

PROBATION = DURATIONS["d"]
STEP = DURATIONS["h"]  # what is no more than that is believed at once
QUIET = 7 * DURATIONS["d"]  # the same at the start, for no packet may have come
BOOTING = DURATIONS["d"]  # for so long after a boot the clock may still be set for the first time


class TrustedClock:
    """The one of the daemon, as all who delete look at it, each in its own thread."""

    def __init__(self) -> None:
        self.quiet = QUIET  # how long ago the newest segment may have begun at the start
        self._lock = threading.Lock()
        self._ahead: int | None = None  # what is believed: ns that the clock is ahead of `passed`
        self._doubted: tuple[int, int] | None = None  # the least it was since it jumped, and when
        self._reach = 0  # what the clock may say at once while the machine boots

    @property
    def knows(self) -> bool:
        """Whether there was a segment to begin from."""
        return self._ahead is not None

    def begin(self, now: int, passed: int, rings: Iterable[Sequence[int]]) -> None:
        """Go on from when the last segment of a directory began.

        `rings`: the stamps of each, in the order of their numbers: what a clock that was wrong for
        a while stamped is not the last.  What is ahead of the clock counts only while that may be
        behind.
        """
        booting = passed < BOOTING
        latest = MAX if booting else now
        known = [[one for one in stamps if CLOCK_SET <= one <= latest] for stamps in rings]
        newest = max((stamps[-1] for stamps in known if stamps), default=0)
        if not newest:
            return
        ahead = (now if now - newest <= self.quiet else newest) - passed
        with self._lock:
            self._ahead = ahead if self._ahead is None else max(self._ahead, ahead)
            if booting:
                self._reach = max(self._reach, newest + self.quiet)

    def look(self, now: int, passed: int) -> int:
        """The time since 1970, `now` at most, that is beyond doubt; 0 while there is no segment."""
        with self._lock:
            if self._ahead is None:
                return 0
            ahead = now - passed
            self._ahead = max(self._ahead, self._proven(self._ahead, ahead, passed))
            if ahead <= self._ahead + STEP or (passed < BOOTING and now <= self._reach):
                self._ahead, self._doubted = max(self._ahead, ahead), None
            elif self._doubted is None:
                self._doubted = ahead, passed
            return min(now, passed + self._ahead)

    def _proven(self, believed: int, ahead: int, passed: int) -> int:
        """How far ahead the clock has stayed for as long as it takes."""
        if self._doubted is None:
            return believed
        least, since = min(self._doubted[0], ahead), self._doubted[1]
        self._doubted = least, since
        if passed - since < PROBATION:
            return believed
        self._doubted = None  # what it is ahead of that is doubted anew
        return least
