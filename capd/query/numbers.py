"""Which numbers of each ring were seen, and with which stamps: its beginning, and its holes.

Numbers grow by one within a ring.  Only a run that was cut off leaves some out without a loss: the
segment that it had just begun, and the file made ahead, in which there was no packet.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from capd.index import Totals
from capd.numbering import CLOCK_SET, Numbering
from capd.survey import UNTOLD

LEFT_OUT = 2  # numbers, at most, by a run that was cut off
NEVER = 2**63 - 1  # ns


@dataclass(frozen=True)
class Hole:
    """A run of numbers that are not there."""

    ring: str
    first: int
    last: int
    after: int  # ns since 1970: what was in them is not stamped before, nor after `before`,
    before: int  # if the clock was right; NEVER: not known

    @property
    def count(self) -> int:
        """Of numbers."""
        return self.last - self.first + 1


class Spot(NamedTuple):
    """A number and its stamp, by which one is known where numbers began again."""

    seq: int
    stamp: int  # ns since 1970; 0: none


@dataclass(frozen=True)
class Lossy:
    """A segment that tells of losses while it was written; stamps in ns since 1970."""

    ring: str
    first: int
    last: int
    packets: int


class Numbers:
    """Those of all rings that are looked at."""

    def __init__(self) -> None:
        self.lossy: list[Lossy] = []
        self._aside: dict[tuple[str, int], str] = {}  # paths of what was set aside as damaged
        self._stamps: dict[str, dict[int, int]] = {}  # by ring and number; 0: not known
        self._ends: dict[str, dict[Spot, int]] = {}  # the largest stamps, of those that are known
        self._sorted: dict[str, list[int]] = {}  # numbers of which a stamp is known, once asked for
        self._silent: dict[str, set[int]] = {}  # by ring: numbers without a stamp
        self._orders: dict[str, list[Spot]] = {}  # by ring whose numbers began again
        self._newest: dict[str, tuple[int, int]] = {}  # by ring: its highest number, and a stamp

    def note(self, ring: str, seq: int, stamp: int, last: int = 0) -> None:
        """It is there; the smallest stamp in it and the largest, as far as these are known."""
        stamps = self._stamps.setdefault(ring, {})
        known = stamps.get(seq, 0)
        stamps[seq] = min(known, stamp) if known and stamp else known or stamp
        if not known:
            self._sorted.pop(ring, None)
        if last:
            self._ends.setdefault(ring, {})[Spot(seq, stamp)] = last
        self._newest[ring] = max(self._newest.get(ring, (0, 0)), (seq, max(stamp, last)))

    def count(self, ring: str, totals: Totals) -> None:
        """What the index of one of its segments tells of losses."""
        if totals.lost not in (0, UNTOLD):
            self.lossy.append(Lossy(ring, totals.first, totals.last, totals.lost))

    def see(self, ring: str, seq: int) -> None:
        """It is there, and tells nothing, or perhaps has no packet."""
        self._silent.setdefault(ring, set()).add(seq)

    def set_aside(self, ring: str, seq: int, path: str) -> None:
        """It is there, and nobody understands it."""
        self.see(ring, seq)
        self._aside[ring, seq] = path

    def aside(self, since: int, until: int) -> Iterator[str]:
        """Paths of what was set aside in which there may be something of this range."""
        for (ring, seq), path in sorted(self._aside.items()):
            if self.may_have(ring, seq, since, until):
                yield path

    def may_have(self, ring: str, seq: int, since: int, until: int) -> bool:
        """Whether something of this range may be in a segment of which no more is known."""
        begin, end = self._span(ring, self._stamped(ring), seq, seq + 1)
        return ring in self._orders or (begin < until and end >= since)

    def arrange(self, ring: str, listed: set[Spot]) -> None:
        """All that is listed of a ring: where one number is there twice, they began again."""
        if len({seq for seq, _ in listed}) < len(listed):
            self._orders[ring] = Numbering[Spot]().in_order(listed, time.time_ns())

    def holes(self) -> Iterator[Hole]:
        """All there are between what was seen, by ring and number."""
        for ring, stamps in sorted(self._stamps.items()):
            if ring in self._orders:
                yield from self._holes_in_order(ring)
                continue
            seen, known = stamps.keys() | self._silent.get(ring, set()), self._stamped(ring)
            for before, after in pairwise(sorted(seen)):
                if after > before + 1:
                    span = self._span(ring, known, before, after)
                    yield Hole(ring, before + 1, after - 1, *span)

    def _holes_in_order(self, ring: str) -> Iterator[Hole]:
        """Those of a ring whose numbers began again, with 1, once or more often."""
        order, ends, begin = self._orders[ring], self._ends.get(ring, {}), 0
        for place, (before, after) in enumerate(pairwise(order), 1):
            begin = max(ends.get(before, 0), before.stamp) or begin
            first = before.seq + 1
            if after.seq <= before.seq:
                first = 1 if 0 < before.stamp < after.stamp else after.seq
            if first < after.seq:
                end = next((one.stamp for one in order[place:] if one.stamp), NEVER)
                yield Hole(ring, first, after.seq - 1, min(begin, end), max(begin, end))

    def _stamped(self, ring: str) -> list[int]:
        """Its numbers of which a stamp is known, in order."""
        if ring not in self._sorted:
            stamps = self._stamps.get(ring, {})
            self._sorted[ring] = sorted(seq for seq, stamp in stamps.items() if stamp)
        return self._sorted[ring]

    def _span(self, ring: str, known: list[int], before: int, after: int) -> tuple[int, int]:
        """Between what stamps that lies which comes after one number, and before another."""
        stamps, ends = self._stamps.get(ring, {}), self._ends.get(ring, {})
        left = known[place - 1] if (place := bisect_right(known, before)) else 0
        right = known[place] if (place := bisect_left(known, after)) < len(known) else 0
        first = stamps.get(left, 0)
        begin = max(ends.get(Spot(left, first), 0), first)
        end = stamps.get(right, NEVER)
        return min(begin, end), max(begin, end)  # a clock may have been set back

    def reach(self, ring: str) -> int:
        """A stamp in the newest segment: what is not in any yet came after that packet."""
        return self._newest.get(ring, (0, 0))[1]

    def oldest(self, since: int) -> dict[str, int]:
        """By ring: the smallest stamp; 0 where none is known.

        What a clock that was not set yet has stamped is old in a range of that time only.
        """
        least = CLOCK_SET if since >= CLOCK_SET else 1
        return {
            ring: min((stamp for stamp in stamps.values() if stamp >= least), default=0)
            for ring, stamps in self._stamps.items()
        }

    def has_first(self, ring: str) -> bool:
        """Whether nothing was deleted of the ring, which began with number 1."""
        return min(self._stamps.get(ring, ()), default=1) == 1
