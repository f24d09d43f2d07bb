"""What retention takes next, decided from names, sizes and the clock alone: pure.

Within a ring the lowest number goes first, whatever the clock did, and what an earlier numbering
left before a later one (`numbering`); across rings the oldest.  How old a segment is, is told by
its stamp, but never against that order: one that is stamped earlier than its predecessor is as
young as that, and a stamp from a clock that was wrong beyond doubt (later than now, or of a time
before there was capd) says nothing, so that the next segment's counts.  The newest segment of a
ring is never taken.

Nor is one that is held, whatever rule asks for it: the next one goes instead.  Held segments count
for the rules like all others, so that what is allowed to capd is not exceeded because of them as
long as anything else can go.

One that waits for the [hook] is left to every rule but that of the disk's free space, and to that
one until nothing else is left: room to record comes first.  One that could not be deleted is passed
over like that, and comes last.
"""

from __future__ import annotations

import fnmatch
import heapq
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from capd.catalog import RingFiles, Segment
from capd.numbering import CLOCK_SET


@dataclass(frozen=True)
class Limits:
    """Of one ring."""

    max_age: int | None = None  # ns
    max_size: int | None = None  # bytes


@dataclass(frozen=True)
class Policy:
    """The rules in force; the strictest wins."""

    max_usage: float = 1.0  # share of the disk
    min_free: int | None = None  # bytes
    max_size: int | None = None
    max_files: int | None = None
    max_age: int | None = None  # ns
    rings: Mapping[str, Limits] = field(default_factory=dict)  # those that are captured
    names: tuple[tuple[str, Limits], ...] = ()  # by patterns, for the folders of others

    def limits(self, ring: str) -> Limits:
        """Those of one ring, be it captured or not."""
        if ring in self.rings:
            return self.rings[ring]
        interface = ring.partition(":")[0]
        found = (limits for name, limits in self.names if fnmatch.fnmatchcase(interface, name))
        return next(found, Limits())

    def reserve(self, total: int) -> int:
        """Bytes that must stay free on a disk of this size."""
        return max(round((1 - self.max_usage) * total), self.min_free or 0)

    def exceeded(self, size: int, count: int) -> str:
        """The key that does not allow so many bytes, or segments; "" if there is none."""
        if self.max_size is not None and size > self.max_size:
            return "max_size"
        if self.max_files is not None and count > self.max_files:
            return "max_files"
        return ""

    def space_rule(self, total: int) -> str:
        """The key that asks for the reserve."""
        return "min_free" if (self.min_free or 0) == self.reserve(total) else "max_usage"


class Need(NamedTuple):
    """What the disk asks for."""

    free: int  # bytes that are to become free
    rule: str  # because of this key


class Victim(NamedTuple):
    """A segment to delete, and the key that asks for it."""

    segment: Segment
    rule: str


# A segment behind its age, and its turn where no clock tells: then the rings are at least taken in
# turns, and neither depends on what else is taken.
_Aged = tuple[int, int, Segment]


class Choice(NamedTuple):
    """What to delete, in this order; and how many bytes will still be missing after that."""

    victims: list[Victim]
    missing: int


def nothing(_: Segment) -> bool:
    """What `Kept` asks where there are no holds, or no hook."""
    return False


class Kept(NamedTuple):
    """What is not to be taken; asked of single segments, just before they would be."""

    held: Callable[[Segment], bool] = nothing
    waits: Callable[[Segment], bool] = nothing  # for the hook
    stuck: Callable[[Segment], bool] = nothing  # could not be deleted


ALL_MAY_GO = Kept()


def choose(
    rings: Mapping[str, RingFiles],
    need: Need,
    policy: Policy,
    now: int,
    kept: Kept = ALL_MAY_GO,
) -> Choice:
    """What has to go for the rules to hold; `now` in ns since 1970."""
    victims: list[Victim] = []
    waiting: list[Segment] = []
    rest: list[list[_Aged]] = []
    count = size = 0
    for ring, files in rings.items():
        own = [segment for segment in files.segments if segment.own]
        aged = _aged(own, now)
        written = sum(part.size for part in files.parts)
        rules = _RingRules(policy.limits(ring), policy, now)
        taken, left = rules.apply(aged, written, kept)
        victims += taken
        rest.append(left)
        count += len(own) - len(taken)
        size += sum(one.size for one in own) - _size(taken) + written
    missing = need.free - _size(victims)
    for segment in _oldest_first(rest):
        rule = policy.exceeded(size, count) or (need.rule if missing > 0 else "")
        if not rule:
            break
        if kept.held(segment):
            continue
        if kept.waits(segment) or kept.stuck(segment):
            waiting.append(segment)
            continue
        victims.append(Victim(segment, rule))
        count -= 1
        size -= segment.size
        missing -= segment.size
    for segment in sorted(waiting, key=kept.stuck):
        if missing <= 0:
            break
        victims.append(Victim(segment, need.rule))
        missing -= segment.size
    return Choice(victims, max(0, missing))


def _size(victims: Iterable[Victim]) -> int:
    return sum(victim.segment.size for victim in victims)


def ages(segments: list[Segment], now: int) -> list[int]:
    """The time of each segment of one ring, as far as its number allows: never falling."""
    following = now
    stamps = []
    for segment in reversed(segments):
        if CLOCK_SET <= segment.stamp <= now:
            following = segment.stamp
        stamps.append(following)
    return list(itertools.accumulate(reversed(stamps), max))


class _RingRules:
    """What the rules of one ring take, and the age that is allowed to all."""

    def __init__(self, limits: Limits, policy: Policy, now: int) -> None:
        most = [age for age in (limits.max_age, policy.max_age) if age is not None]
        self._oldest = now - min(most) if most else None
        self._max_size = limits.max_size

    def apply(
        self, aged: list[_Aged], written: int, kept: Kept
    ) -> tuple[list[Victim], list[_Aged]]:
        """What they take, and what may still be taken for other reasons."""
        over = -1
        if self._max_size is not None:
            over = sum(segment.size for _, _, segment in aged) + written - self._max_size
        victims: list[Victim] = []
        waiting: list[_Aged] = []
        for at, (moment, _, segment) in enumerate(aged[:-1]):
            if self._oldest is not None and moment < self._oldest:
                rule = "max_age"
            elif over > 0:
                rule = "max_size of the interface"
            else:
                return victims, [*waiting, *aged[at:-1]]
            if kept.held(segment):
                continue
            if kept.waits(segment) or kept.stuck(segment):
                waiting.append(aged[at])
                continue
            victims.append(Victim(segment, rule))
            over -= segment.size
        return victims, waiting


def _aged(segments: list[Segment], now: int) -> list[_Aged]:
    """The segments of one ring, in their order."""
    turns = itertools.accumulate((segment.stamp for segment in segments), max)
    return list(zip(ages(segments, now), turns, segments, strict=True))


def _oldest_first(rings: Iterable[list[_Aged]]) -> Iterator[Segment]:
    """Of all rings; segments of one ring stay in their order."""
    for _, _, segment in heapq.merge(*rings, key=operator.itemgetter(0, 1)):
        yield segment
