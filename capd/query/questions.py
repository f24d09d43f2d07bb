"""What must perhaps be in a section: questions to its sketch, joined by "and" and "or".

A term is a question, `Every` (all parts must be true) or `Either` (one part must be).  ANYTHING
is `Every` of nothing, true for each sketch; NOTHING is `Either` of nothing.  Terms are made by
`Terms`, which makes equal ones once and keeps them small: parts of parts are taken in, what all
alternatives need is taken out of them (`a and b or a and c` is `a and (b or c)`), what something
weaker makes superfluous goes.  Where a term would grow too deep, ANYTHING takes its place: a
weaker question is never a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from operator import attrgetter

from capd.sketch import Sketch, network_keys

_MOST_PARTS = 512  # of a term made of two; it would have the two as its parts
_MOST_DEPTH = 64
_PATIENCE = 1_000_000  # alternatives compared with each other


@dataclass(frozen=True, eq=False)
class Question:
    """One thing that a sketch can deny."""

    words: str
    ask: Callable[[Sketch], bool]
    order: tuple[int, int]  # those that deny more are asked first
    keys: frozenset[tuple[int, ...]] = frozenset()  # of a network


@dataclass(frozen=True, eq=False)
class _Joint:
    """Several terms as one."""

    parts: frozenset[Term] = frozenset()
    order: tuple[int, int] = (0, 0)

    @cached_property
    def ordered(self) -> tuple[Term, ...]:
        """The parts as it is best to ask: simple ones first."""
        return tuple(sorted(self.parts, key=attrgetter("order")))


class Every(_Joint):
    """True when all parts are."""


class Either(_Joint):
    """True when a part is."""


Term = Question | Every | Either
"""Its order is (how deep it is, number); terms are compared as objects, `Terms` makes them once."""

ANYTHING: Term = Every()
NOTHING: Term = Either()


class Terms:
    """Maker of the terms of one filter."""

    def __init__(self) -> None:
        self._questions: dict[str, Question] = {}
        self._networks: dict[frozenset[tuple[int, ...]], str] = {}  # by keys, which several share
        self._patience = _PATIENCE
        self._joined: dict[tuple[type, frozenset[Term]], Term] = {}

    def network(self, network: IPv4Network | IPv6Network) -> Term:
        """An address inside is source or destination; ANYTHING if the network is too large."""
        keys = network_keys(network)
        if not keys:
            return ANYTHING
        groups = frozenset(keys)
        words = self._networks.setdefault(groups, f"network {network}")
        return self._question(0, words, lambda sketch: sketch.may_hold_keys(keys), groups)

    def port(self, number: int) -> Term:
        """A source or destination port of TCP, UDP or SCTP."""
        return self._question(1, f"port {number}", lambda sketch: sketch.may_hold_port(number))

    def fragment(self) -> Term:
        """A fragment of an IP packet."""
        return self._question(2, "a fragment", Sketch.may_hold_fragment)

    def tag(self) -> Term:
        """A frame with a VLAN tag."""
        return self._question(2, "a VLAN tag", Sketch.may_hold_tag)

    def protocol(self, number: int) -> Term:
        """A protocol of IP."""
        words = f"protocol {number}"
        return self._question(2, words, lambda sketch: sketch.may_hold_protocol(number))

    def ethertype(self, number: int) -> Term:
        """An EtherType, wherever it stands."""
        words = f"EtherType 0x{number:04x}"
        return self._question(2, words, lambda sketch: sketch.may_hold_ethertype(number))

    def _question(
        self,
        rank: int,
        words: str,
        ask: Callable[[Sketch], bool],
        keys: frozenset[tuple[int, ...]] = frozenset(),
    ) -> Question:
        known = self._questions.get(words)
        if known is None:
            order = (0, rank << 32 | len(self._questions))
            known = self._questions[words] = Question(words, ask, order, keys)
        return known

    def every(self, one: Term, other: Term) -> Term:
        """Both are needed."""
        if one is NOTHING or other is NOTHING:
            return NOTHING
        needed = _needs(one) | _needs(other)
        return self._join(Every, frozenset(part for part in needed if not _implied(part, needed)))

    def either(self, one: Term, other: Term) -> Term:
        """One of the two is needed."""
        shared = _needs(one) & _needs(other)
        if shared:
            left, right = (self._join(Every, _needs(each) - shared) for each in (one, other))
            return self.every(self._join(Every, shared), self.either(left, right))
        if ANYTHING in (one, other):
            return ANYTHING
        some, others = _alternatives(one), _alternatives(other)
        self._patience -= len(some) * len(others)
        if self._patience > 0:
            some = self._lessened(_weakest(some, others), others)
            others = self._lessened(_weakest(others, some), some)
        if some and others and len(some) + len(others) > _MOST_PARTS:
            return self._join(Either, frozenset((one, other)))
        return self._join(Either, some | others)

    def _lessened(self, some: frozenset[Term], others: frozenset[Term]) -> frozenset[Term]:
        """Of `a and (b or c) or c` the first alternative is `a and b`; by such steps.

        Programs jump from anywhere in one alternative to the next one; without this each would
        stand inside of the one before.
        """
        self._patience -= len(some)
        lessened = set(some)
        for each in _everies(some):
            made: Term = each
            for part in each.parts:
                if not isinstance(part, Either) or self._patience < 0:
                    continue
                left = self._lessened(part.parts - others, others)
                if left != part.parts:
                    rest = self._join(Every, _needs(made) - {part})
                    made = self.every(rest, self._join(Either, left))
            if made is not each:
                lessened.remove(each)
                lessened |= _alternatives(made)
        return frozenset(lessened)

    def _join(self, kind: type[Every | Either], parts: frozenset[Term]) -> Term:
        if len(parts) == 1:
            return next(iter(parts))
        if not parts:
            return ANYTHING if kind is Every else NOTHING
        known = self._joined.get((kind, parts))
        if known is None:
            depth = 1 + max(part.order[0] for part in parts)
            made = kind(parts, (depth, len(self._joined)))
            known = self._joined[kind, parts] = made if depth <= _MOST_DEPTH else ANYTHING
        return known


def _needs(term: Term) -> frozenset[Term]:
    return term.parts if isinstance(term, Every) else frozenset((term,))


def _alternatives(term: Term) -> frozenset[Term]:
    return term.parts if isinstance(term, Either) else frozenset((term,))


def _everies(alternatives: frozenset[Term]) -> list[Every]:
    return [each for each in alternatives if isinstance(each, Every)]


def _implied(part: Term, needed: frozenset[Term]) -> bool:
    """Whether something that is needed anyway says as much."""
    if isinstance(part, Either):
        return not part.parts.isdisjoint(needed)
    return (
        isinstance(part, Question)
        and bool(part.keys)
        and any(isinstance(each, Question) and part.keys < each.keys for each in needed)
    )


def _weakest(some: frozenset[Term], others: frozenset[Term]) -> frozenset[Term]:
    """Those of some that do not need all that one of the others does, and more."""
    whole = _everies(others)
    return some - {
        each
        for each in _everies(some)
        if not each.parts.isdisjoint(others) or any(other.parts < each.parts for other in whole)
    }
