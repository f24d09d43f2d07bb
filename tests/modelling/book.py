"""The model: which packets there must be, in which segment, and what may be deleted next.

It knows numbers and stamps of packets, and nothing of how capd keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from capd.holds import Hold
from tests.modelling.reader import Found, Packets

UNSET = 10**18  # ns since 1970: stamps before that are of a clock that nobody has set


class Aged(NamedTuple):
    """A finished segment in one directory, as retention is to see it."""

    seq: int
    size: int
    age: int  # ns since 1970: as old as that
    held: bool
    doubtful: bool  # it may be kept as if it were held


Asks = Callable[[list[Aged]], Callable[[Aged], bool]]
"""A rule: given all segments, whether one more has to go, asked before each, in order."""


@dataclass
class Book:
    """All that there must be."""

    packets: dict[int, int] = field(default_factory=dict)  # stamps by number
    segments: dict[int, Packets] = field(default_factory=dict)  # that nobody writes any more
    # Behind a broken place of an open segment: nobody reads on there before it is salvaged.
    hidden: set[int] = field(default_factory=set)
    damaged: set[int] = field(default_factory=set)  # set aside: no packet in it can be read
    holds: dict[str, Hold] = field(default_factory=dict)
    orderly: bool = True  # whether no clock was ever set back by more than an hour

    def see(self, seq: int, content: Packets) -> None:
        """A finished segment has this in it, now and for ever."""
        known = self.segments.setdefault(seq, content)
        assert known == content, f"segment {seq} has {_few(content)}, and had {_few(known)}"

    def check(self, found: Iterable[int], may_be: Iterable[int] = ()) -> None:
        """These packets were found: each that there must be, once, and no other.

        `may_be`: that an open segment may have, without being committed.
        """
        listed = list(found)
        seen = set(listed)
        assert len(seen) == len(listed), f"twice: {_few(n for n in seen if listed.count(n) > 1)}"
        missing = self.packets.keys() - seen - self.hidden
        more = seen - self.packets.keys() - set(may_be)
        assert not missing, f"missing: {_few(sorted(missing))}"
        assert not more, f"too many: {_few(sorted(more))}"

    def lose(self, numbers: Iterable[int]) -> None:
        """These are gone, and may be."""
        for number in numbers:
            self.packets.pop(number, None)

    def spans(self, now: int) -> list[tuple[int, int]]:
        """What is held at this moment, both ends included."""
        return [(one.since, one.until) for one in self.holds.values() if not one.is_over(now)]

    def aged(self, segments: dict[int, Found], usable: set[int], now: int) -> list[Aged]:
        """Finished segments of one directory; `usable`: those whose index can be read."""
        numbers = sorted(segments)
        ages = self._ages([segments[seq].begins for seq in numbers], now)
        spans, made = self.spans(now), []
        for seq, age in zip(numbers, ages, strict=True):
            stamps = [segments[seq].begins, *(stamp for _, stamp in self.segments.get(seq, ()))]
            held = any(since <= max(stamps) and stamps[0] <= until for since, until in spans)
            certain = seq in usable
            sure = held and (certain or self.orderly)
            doubt = bool(spans) and not certain
            made.append(Aged(seq, segments[seq].size, age, sure, doubt))
        return made

    def _ages(self, stamps: list[int], now: int) -> Iterator[int]:
        """Never falling; where the clock was wrong, what follows tells."""
        oldest = 0
        for at in range(len(stamps)):
            told = (stamp for stamp in stamps[at:] if UNSET <= stamp <= now)
            oldest = max(oldest, next(told, now))
            yield oldest


def by_age(before: int) -> Asks:
    """All that is older than that has to go."""
    return lambda _: lambda one: one.age < before


def by_count(most: int) -> Asks:
    """So many may stay."""
    return lambda every: _while(len(every) - most, lambda _: 1)


def by_size(most: int, written: int) -> Asks:
    """So many bytes may stay, of which `written` are not finished."""
    return lambda every: _while(
        sum(one.size for one in every) + written - most, lambda one: one.size
    )


def by_space(missing: int) -> Asks:
    """So many bytes have to become free."""
    return lambda _: _while(missing, lambda one: one.size)


def _while(over: int, counts: Callable[[Aged], int]) -> Callable[[Aged], bool]:
    def asked(one: Aged) -> bool:
        nonlocal over
        goes = over > 0
        over -= counts(one)
        return goes

    return asked


def check_deleted(every: list[Aged], gone: set[int], rule: Asks, *, interrupted: bool) -> None:
    """What went is what had to, the oldest first: never the newest, never what is held.

    `interrupted`: the rest of it may be there yet.
    """
    asked, ended = rule(every), False
    for one in every[:-1]:
        is_gone = one.seq in gone
        if one.held:
            assert not is_gone, f"segment {one.seq} is held, and was deleted"
            continue
        if one.doubtful and not is_gone:
            continue
        if ended or not asked(one):
            assert not is_gone, f"segment {one.seq} was deleted for nothing, or out of turn"
            ended = True
        elif not is_gone:
            assert interrupted, f"{one} had to go, of {every}"
            ended = True
    assert not every or every[-1].seq not in gone, "the newest was deleted"


def _few(numbers: Iterable[object]) -> str:
    listed = list(numbers)
    return f"{len(listed)}, first {listed[:5]}"
