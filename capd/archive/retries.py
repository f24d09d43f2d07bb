"""When what failed is tried again: ever later, and meanwhile others have their turn.

An error holds up everybody for a while, as most are of the whole disk; and the segment itself
for longer.  It comes behind all others then: the pauses between several that go on failing add up
to more than each of them waits, and nobody else had a turn.  What has failed once is forgiven when
the error is over, as that may have been the disk's: the oldest is to come first again.  This module
knows no file, and locks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Container
from typing import NamedTuple

from capd.units import SECOND

FIRST_DELAY = SECOND  # after an error, for everybody; doubled by each that follows
LAST_DELAY = 60 * SECOND
FIRST_RETRY = 2 * SECOND  # for the segment itself
LAST_RETRY = 600 * SECOND

Key = tuple[str, int, int]


class _Failure(NamedTuple):
    """How often a segment's turn ended in an error, and when it has another."""

    times: int
    until: int  # monotonic ns; 0: forgiven


class Retries:
    """Of one kind of work."""

    def __init__(self) -> None:
        self._failures: dict[Key, _Failure] = {}
        self._pause_until = 0
        self._delay = 0

    def failed(self, one: Key) -> None:
        """This one's turn ended in an error."""
        now = time.monotonic_ns()
        self._delay = min(max(FIRST_DELAY, 2 * self._delay), LAST_DELAY)
        self._pause_until = now + self._delay
        times = self._failures[one].times + 1 if one in self._failures else 1
        delay = min(FIRST_RETRY << min(times - 1, 16), LAST_RETRY)
        self._failures[one] = _Failure(times, now + delay)

    def went_well(self, one: Key) -> None:
        """So the error, if there was any, is over."""
        self._failures.pop(one, None)
        if self._delay:
            self._delay = 0
            once = {one: why for one, why in self._failures.items() if why.times == 1}
            self._failures |= {one: why._replace(until=0) for one, why in once.items()}

    def is_pause(self, now: int) -> bool:
        """Whether nobody has a turn now, in monotonic ns."""
        return now < self._pause_until

    def may_try(self, one: Key, now: int) -> bool:
        """Whether this one has a turn, when others have."""
        return one not in self._failures or self._failures[one].until <= now

    def comes_last(self, one: Key) -> bool:
        """Whether all others have their turn before this one."""
        return one in self._failures and self._failures[one].until > 0

    def is_stubborn(self, one: Key) -> bool:
        """Whether it failed again: that is its own error, and goes on when others go well."""
        return one in self._failures and self._failures[one].times > 1

    @property
    def failures(self) -> frozenset[Key]:
        """Those that did not go well when they were tried last."""
        return frozenset(self._failures)

    def forget(self, known: Container[Key]) -> None:
        """All but these are gone."""
        self._failures = {one: why for one, why in self._failures.items() if one in known}
