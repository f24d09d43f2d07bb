"""From a ring's counters to records of loss: one for each burst, and none told twice.

Pure.  The counters grow for as long as the ring lives, over workers and daemons; what has
been told of them is told.  A burst ends when it has been quiet for a while; one that does
not end is told in parts.  The parts add up to what the counters say, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from capd.losses import Loss
from capd.messages import Counters
from capd.units import SECOND

QUIET = 3 * SECOND // 2  # ns without a loss that end a burst
MOST = 60 * SECOND  # ns after which one that goes on is told

# The stage at which each counter of lost packets counts.
STAGES = {"ring": "dropped", "disk": "disk", "capd": "malformed"}


@dataclass
class _Burst:
    since: int
    until: int  # when it was last seen to grow
    packets: int
    cause: str


class Bursts:
    """The losses of one ring."""

    def __init__(self, interface: str, told: Counters, now: int) -> None:
        """`told`: counters whose losses are on record; `now` as everywhere in ns since 1970."""
        self._interface = interface
        self._seen = told
        self._looked_at = now
        self._bursts: dict[str, _Burst] = {}
        self.told = told

    def feed(
        self, counters: Counters, now: int, causes: dict[str, str], *, at_most: bool = False
    ) -> list[Loss]:
        """The counters at a moment, and why packets may be lost by stage; gives what is to tell."""
        for stage, name in STAGES.items():
            grown = getattr(counters, name) - getattr(self._seen, name)
            if grown > 0:
                burst = self._bursts.setdefault(stage, _Burst(self._looked_at, now, 0, ""))
                burst.packets += grown
                burst.until = now
                burst.cause = burst.cause or causes[stage]
        self._seen, self._looked_at = counters, now
        done = [
            stage
            for stage, burst in self._bursts.items()
            if now - burst.until >= QUIET or now - burst.since >= MOST
        ]
        return list(self._tell(done, at_most=at_most))

    def close(self, *, at_most: bool = False) -> list[Loss]:
        """What is left to tell."""
        return list(self._tell(list(self._bursts), at_most=at_most))

    def _tell(self, stages: list[str], *, at_most: bool) -> Iterator[Loss]:
        for stage in stages:
            burst, name = self._bursts.pop(stage), STAGES[stage]
            before = getattr(self.told, name)
            self.told = self.told._replace(**{name: before + burst.packets})
            yield Loss(
                self._interface,
                stage,
                burst.since,
                burst.until,
                burst.packets,
                burst.cause,
                at_most,
            )
