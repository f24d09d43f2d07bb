"""How fast the archive process may go: decided from the load of capture and from the backlog.

Capture comes first: while any ring fills or the disk is late, and while nobody tells, nothing
is done.  A backlog that grows lowers the level, and at last leaves segments raw: an index
costs next to nothing and is what finds packets again.  What moves makes room, so that it goes on
while there is none for capture.  This module decides; it has no clock and touches nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from capd.units import SECOND

FILLING = 0.25  # share of a ring's blocks that wait: stop
DRAINED = 0.10  # go on
SILENCE = 5 * SECOND  # without a word about the load: stop

LOWER, LOWEST, NONE = 8, 16, 32  # closed segments of one ring without an index: more than this
LOW_LEVEL, LOWEST_LEVEL = 1, -5


class Decision(NamedTuple):
    """What holds for now."""

    paused: bool
    level: int | None  # for what is begun now; None: it is left raw
    moving: bool  # whether segments may move nevertheless, or as always


class Pace:
    """What was heard of the load; `now` in ns of any clock that only runs forward."""

    def __init__(self) -> None:
        self._heard: int | None = None
        self._paused = self._full = False

    def hear(self, now: int, filled: float, *, late: bool, full: bool = False) -> None:
        """The load, as the daemon tells it."""
        self._heard, self._full = now, full
        if late or filled > FILLING:
            self._paused = True
        elif filled < DRAINED:
            self._paused = False

    def decide(self, now: int, backlog: int, level: int) -> Decision:
        """`backlog`: of the ring that has the most; `level`: that of the plan."""
        silent = self._heard is None or now - self._heard > SILENCE
        moving = not silent and (self._full or not self._paused)
        return Decision(self._paused or silent, level_for(backlog, level), moving)


def level_for(backlog: int, level: int) -> int | None:
    """The level for such a backlog; None: leave segments raw."""
    if backlog > NONE:
        return None
    if backlog > LOWEST:
        return min(level, LOWEST_LEVEL)
    if backlog > LOWER:
        return min(level, LOW_LEVEL)
    return level
