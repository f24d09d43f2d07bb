"""The order of a ring's segments: by number, and behind what an earlier numbering left.

A ring's numbers begin again where its folder was lost and the second directory was not: on a new
disk, or in another directory.  Two segments of one number prove it; then stamps tell where the
later numbering begins.  Without that proof numbers are believed and not clocks, which may have
been set back; and a stamp of a clock that was wrong beyond doubt tells nothing.
"""

from __future__ import annotations

import itertools
import operator
from bisect import bisect
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

CLOCK_SET = 1_000_000_000 * 10**9  # ns since 1970: stamps before 2001 are of an unset clock


class Numbered(Protocol):
    """What has a place in the order of a ring."""

    @property
    def seq(self) -> int:
        """Its number."""

    @property
    def stamp(self) -> int:
        """ns since 1970; 0: none is known."""


_One = TypeVar("_One", bound=Numbered)
_by_number = operator.attrgetter("seq", "stamp")
_by_stamp = operator.attrgetter("stamp", "seq")


class Numbering(Generic[_One]):
    """Of one ring; what it has learned of restarts it keeps when the proof is deleted."""

    def __init__(self) -> None:
        self._starts: list[int] = []  # stamps with which numberings begin, but for the first
        # What was found the last time, and its order, if numbers alone decided on that.
        self._found: list[_One] = []
        self._ordered: list[_One] = []

    def in_order(self, found: Iterable[_One], now: int) -> list[_One]:
        """All that there is of the ring; `now` in ns since 1970.

        What has no stamp to rely on counts as of the last numbering that lacks its number.
        """
        listed = list(found)
        if listed == self._found:  # most looks find nothing new
            return list(self._ordered)
        ordered = sorted(listed, key=operator.attrgetter("seq"))
        if _is_plain(ordered):
            self._found, self._ordered = listed, ordered
            return list(ordered)
        ordered.sort(key=_by_number)
        dated = [one for one in ordered if CLOCK_SET <= one.stamp <= now]
        for numbering in self._divided(sorted(dated, key=_by_stamp)):
            self._starts += _starts(numbering)
        self._starts.sort()
        if not self._starts:
            return ordered
        numberings = self._divided(dated)
        numbers = [{one.seq for one in numbering} for numbering in numberings]
        for one in ordered:
            if not CLOCK_SET <= one.stamp <= now:
                lacking = [at for at, taken in enumerate(numbers) if one.seq not in taken]
                numberings[max(lacking, default=0)].append(one)
                numbers[max(lacking, default=0)].add(one.seq)
        return [one for numbering in numberings for one in sorted(numbering, key=_by_number)]

    def _divided(self, dated: Sequence[_One]) -> list[list[_One]]:
        numberings: list[list[_One]] = [[] for _ in range(len(self._starts) + 1)]
        for one in dated:
            numberings[bisect(self._starts, one.stamp)].append(one)
        return numberings


def _is_plain(ordered: Sequence[Numbered]) -> bool:
    """Whether stamps grow with the numbers, so that there is nothing to decide."""
    seqs, stamps = [one.seq for one in ordered], [one.stamp for one in ordered]
    later = itertools.islice(seqs, 1, None), itertools.islice(stamps, 1, None)
    return all(map(operator.lt, seqs, later[0])) and all(map(operator.le, stamps, later[1]))


def _starts(dated: Sequence[Numbered]) -> list[int]:
    """The stamps with which numbers begin again; `dated` is in the order of stamps."""
    starts = []
    begin = 0
    places: dict[int, int] = {}  # by number
    for at, one in enumerate(dated):
        before = places.get(one.seq, -1)
        if before >= begin:  # they began again between the two, with the lowest one
            begin = min(range(before + 1, at + 1), key=lambda place: dated[place].seq)
            starts.append(dated[begin].stamp)
        places[one.seq] = at
    return starts
