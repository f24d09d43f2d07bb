"""Which frames are in segments: once, twice, not at all.  Pure; a frame is a number.

What must be in a segment is what was sent while the link was up and captured.  Of what was sent in
a time of doubt (a link that goes down or comes back just then) only this is asked: not twice.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Run = tuple[int, int]
"""From the first number to the one behind the last."""

Key = tuple[str, int]
"""A segment: its ring and its number."""


class Numbers:
    """A set of numbers, as the runs that it is made of."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._end: list[int] = []

    def add(self, run: Run) -> list[Run]:
        """Those of it that were there before."""
        first, end = run
        low, high = bisect_left(self._end, first), bisect_right(self._first, end)
        touched = list(zip(self._first[low:high], self._end[low:high], strict=True))
        self._first[low:high] = [min([first, *(one for one, _ in touched)])]
        self._end[low:high] = [max([end, *(one for _, one in touched)])]
        both = [(max(first, one), min(end, other)) for one, other in touched]
        return [(one, other) for one, other in both if one < other]

    def gaps(self, run: Run) -> Iterator[Run]:
        """What of a run is not there."""
        at, end = run
        for one, other in zip(self._first, self._end, strict=True):
            if one >= end:
                break
            if one > at:
                yield at, one
            at = max(at, other)
        if at < end:
            yield at, end


class Account:
    """Of one interface, whose frames are numbered from `first`."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.found = Numbers()
        self.doubtful = Numbers()
        self.twice = 0
        self._segments: dict[Key, list[Run]] = {}

    def enter(self, key: Key, runs: list[Run]) -> str:
        """What a segment holds, under whichever of its names; what is wrong with that, or ""."""
        before = self._segments.get(key)
        if before is not None:
            return "" if before == runs else f"it held {before}, and holds {runs} now"
        self._segments[key] = runs
        again = [one for run in runs for one in self.found.add(run)]
        self.twice += size(again)
        if not again:
            return ""
        return f"{size(again)} frames are in another one, too, from {again[0][0]} on"

    def missing(self, end: int) -> list[Run]:
        """What was sent beyond doubt, before the frame `end`, and is in no segment."""
        absent = self.found.gaps((self._first, end))
        return [run for gap in absent for run in self.doubtful.gaps(gap)]

    def doubted(self, end: int) -> int:
        """How many are in no segment, and need not be."""
        return size(self.found.gaps((self._first, end))) - size(self.missing(end))

    def left_out(self, runs: list[Run]) -> list[Run]:
        """What is in segments, and is not between the first and the last of what was given."""
        given = Numbers()
        for run in runs:
            given.add(run)
        inner = given.gaps((runs[0][0], runs[-1][1])) if runs else []
        return [run for gap in inner for run in self._held(gap)]

    def segments_of(self, runs: list[Run]) -> list[Key]:
        """Those that hold some of these."""
        return [
            key
            for key, held in self._segments.items()
            if any(one < end and first < other for first, end in held for one, other in runs)
        ]

    def _held(self, run: Run) -> Iterator[Run]:
        at, end = run
        for one, other in self.found.gaps(run):
            if one > at:
                yield at, one
            at = other
        if at < end:
            yield at, end


def size(runs: Iterable[Run]) -> int:
    """How many numbers that is."""
    return sum(end - first for first, end in runs)
