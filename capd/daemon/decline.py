"""How fast the free space of a disk shrinks, as far as looking at it tells.

What is written steadily shows in every step; what somebody takes at once, in one of them, is no
rate.  Pure: whoever looks brings the clock.
"""

from __future__ import annotations

from collections import deque

STEPS = 8  # between two looks each


class Decline:
    """Of the last looks."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque(maxlen=STEPS)  # seconds, bytes less
        self._last: tuple[float, int] | None = None

    def look(self, now: float, free: int) -> float:
        """Bytes a second, but for the largest step; `now` in seconds of a clock that never steps.

        0.0 while there are too few looks to tell.
        """
        if self._last is not None:
            then, before = self._last
            self._steps.append((now - then, before - free))
        self._last = (now, free)
        if len(self._steps) < STEPS // 2:
            return 0.0
        lost = [bytes_less for _, bytes_less in self._steps]
        seconds = sum(took for took, _ in self._steps)
        return max(0.0, (sum(lost) - max(lost)) / max(seconds, 0.001))

    def freed(self, size: int) -> None:
        """So many bytes were deleted since the last look."""
        if self._last is not None:
            then, before = self._last
            self._last = (then, before + size)
