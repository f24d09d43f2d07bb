"""From a ring's counters to records of loss: one for each burst, and none told twice.

Pure.  The counters grow for as long as the ring lives, over workers and daemons; what has
been told of them is told.  A burst ends when it has been quiet for a while; one that does
not end is told in parts, and of one stage there is never more than one record a minute:
what is lost meanwhile is in the next.  The records add up to what the counters say, exactly.

Who keeps `told` does so after telling: a daemon killed in between tells a loss twice, rather
than never.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from capd.losses import Loss
from capd.messages import Counters
from capd.units import SECOND

QUIET = 3 * SECOND // 2  # ns without a loss that end a burst
PROMPT = 5 * SECOND  # ns after which a burst that goes on is told
SPACING = 60 * SECOND  # ns between two records of a stage

_CUT_SHORT = "clamped"


class Outside(NamedTuple):
    """Packets that were lost before they came to any ring."""

    nic: int = 0
    backlog: int = 0


# By kind of counters: the stage at which each of those counts that are of lost packets.
STAGES = {
    Counters: {"ring": "dropped", "disk": "disk", "capd": "malformed"},
    Outside: {"nic": "nic", "backlog": "backlog"},
}
Lost = TypeVar("Lost", Counters, Outside)


class Growth(NamedTuple):
    """Packets that were lost at a stage between two looks (ns since 1970)."""

    interface: str
    stage: str
    packets: int
    since: int
    until: int
    at_most: bool = False


@dataclass
class _Burst:
    """`begun` and `grown` by this module's own clock, the rest in ns since 1970."""

    begun: int
    since: int
    grown: int = 0
    until: int = 0  # when it was last seen to grow
    packets: int = 0
    at_most: bool = False


class Bursts(Generic[Lost]):
    """The losses of one ring, or of what lies before the rings."""

    def __init__(self, interface: str, told: Lost, since: int) -> None:
        """`told`: counters whose losses are on record; others came after `since`.

        Both are what an earlier daemon read off its own `told` and `since`; of a new ring it
        is the moment of its birth.  ns since 1970, here and everywhere.
        """
        self._interface = interface
        self._stages = STAGES[type(told)]
        self._latest: Lost = told
        self._seen: Lost = told
        self.taken = self._now = since  # when the newest report came
        self._clock = 0  # ns that have passed; goes on when somebody sets the other clock back
        self._bursts: dict[str, _Burst] = {}
        self._next: dict[str, int] = {}  # by stage: on that clock, before which it is not told
        self.told: Lost = told
        self._growths: list[Growth] = []

    @property
    def since(self) -> int:
        """No loss that is not in `told` came before."""
        return min([self.taken, *(burst.since for burst in self._bursts.values())])

    def feed(
        self, counters: Lost, now: int, *, at_most: bool = False, taken: int | None = None
    ) -> list[Loss]:
        """A look at the newest counters; gives what is to tell, without its cause.

        `at_most`: another ring may have them; `taken`: when a worker reported these counters,
        if that was not now, and 0 while none has.  Two looks at one report tell nothing new.
        """
        self._clock += max(0, now - self._now)
        self._now = now
        taken = now if taken is None else taken
        if taken not in (0, self.taken) or counters != self._latest:
            self._latest = counters
            self._grow(counters, taken or now, at_most=at_most)
        return list(self._tell(filter(self._is_due, list(self._bursts))))

    def growths(self) -> list[Growth]:
        """What has been seen to be lost since this was asked, whether it is told or not."""
        found, self._growths = self._growths, []
        return found

    def untold(self) -> list[Loss]:
        """What has been seen to be lost, and is told later; without its cause."""
        return [self._loss(stage, burst) for stage, burst in self._bursts.items()]

    def close(self, *, at_most: bool = False) -> list[Loss]:
        """What is left to tell."""
        for burst in self._bursts.values():
            burst.at_most |= at_most
        return list(self._tell(list(self._bursts)))

    def cut_short(self: Bursts[Counters], *, last: bool = False) -> int:
        """Packets written but not whole, since this told of some; often 0, for it is due rarely."""
        fresh = self._seen.clamped - self.told.clamped
        if not fresh or not (last or self._clock >= self._next.get(_CUT_SHORT, 0)):
            return 0
        self._next[_CUT_SHORT] = self._clock + SPACING
        self.told = self.told._replace(clamped=self._seen.clamped)
        return fresh

    def _grow(self, counters: Lost, taken: int, *, at_most: bool) -> None:
        """Take up a report; counters below those of an earlier one are an older report's."""
        before, self._seen = self._seen, type(counters)(*map(max, self._seen, counters))
        for stage, name in self._stages.items():
            grown = getattr(self._seen, name) - getattr(before, name)
            if grown:
                burst = self._bursts.setdefault(stage, _Burst(self._clock, self.taken))
                burst.packets += grown
                since, until = sorted((self.taken, taken))
                self._growths.append(Growth(self._interface, stage, grown, since, until, at_most))
                burst.grown, burst.until = self._clock, taken
                burst.at_most |= at_most
        self.taken = taken

    def _is_due(self, stage: str) -> bool:
        burst, now = self._bursts[stage], self._clock
        ended = now - burst.grown >= QUIET
        return (ended or now - burst.begun >= PROMPT) and now >= self._next.get(stage, 0)

    def _tell(self, stages: Iterable[str]) -> Iterator[Loss]:
        for stage in stages:
            burst, name = self._bursts.pop(stage), self._stages[stage]
            before = getattr(self.told, name)
            self.told = self.told._replace(**{name: before + burst.packets})
            self._next[stage] = self._clock + SPACING
            yield self._loss(stage, burst)

    def _loss(self, stage: str, burst: _Burst) -> Loss:
        since, until = sorted((burst.since, burst.until))  # the clock may have been set back
        return Loss(self._interface, stage, since, until, burst.packets, "", burst.at_most)
