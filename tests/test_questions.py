"""Terms: however they are made small, they are true where "and" and "or" would be; ranges too."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.query import questions
from capd.query.conditions import Conditions
from capd.query.questions import ANYTHING, NOTHING, Either, Every, Term, Terms
from capd.query.ranges import Ranges, intersected, numbers, united
from capd.sketch import Sketch

_PORTS = 6
# Each set of ports: a sketch that holds these and no other.
_SKETCHES = [Sketch(low_ports=bytes([held]) + bytes(127)) for held in range(1 << _PORTS)]

Truth = Callable[[int], bool]


def _port(number: int) -> Truth:
    return lambda held: bool(held >> number & 1)


def _both(one: Truth, other: Truth) -> Truth:
    return lambda held: one(held) and other(held)


def _any(one: Truth, other: Truth) -> Truth:
    return lambda held: one(held) or other(held)


def _grown(rng: random.Random, terms: Terms, steps: int) -> list[tuple[Term, Truth]]:
    """Terms of terms, and what they must say."""
    made: list[tuple[Term, Truth]] = [(terms.port(n), _port(n)) for n in range(_PORTS)]
    made += [(ANYTHING, lambda _: True), (NOTHING, lambda _: False)]
    for _ in range(steps):
        (one, truth), (other, too) = rng.choices(made, k=2)
        made.append((terms.every(one, other), _both(truth, too)))
        (one, truth), (other, too) = rng.choices(made, k=2)
        made.append((terms.either(one, other), _any(truth, too)))
    return made


def _wrong(made: list[tuple[Term, Truth]]) -> list[str]:
    asked = [(Conditions(term), truth) for term, truth in made]
    return [
        str(one)
        for one, truth in asked
        if [one.may_match(sketch) for sketch in _SKETCHES] != list(map(truth, range(64)))
    ]


@given(st.randoms(use_true_random=False))
def test_truth(rng: random.Random) -> None:
    """Of all terms, over all that a section may hold."""
    assert _wrong(_grown(rng, Terms(), 20)) == []


@given(st.randoms(use_true_random=False))
def test_truth_without_patience(rng: random.Random) -> None:
    """Also where there is no time left to simplify, and where nothing fits into one term."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "_PATIENCE", 20)
        patch.setattr(questions, "_MOST_PARTS", 3)
        assert _wrong(_grown(rng, Terms(), 20)) == []


def test_too_deep() -> None:
    """What would not fit asks for less, and never for more."""
    terms = Terms()
    term: Term = terms.port(0)
    for n in range(1, 1000):
        step = terms.every(terms.port(2 * n), term) if n % 2 else terms.either(terms.port(n), term)
        term = step
    assert Conditions(term).may_match(Sketch(low_ports=b"\xff" * 128))
    assert len(str(Conditions(term))) < 5000


def test_small() -> None:
    """What is common is asked once, and what follows from the rest is not asked."""
    terms = Terms()
    a, b, c = map(terms.port, range(3))
    wide, narrow = (terms.network(ip_network(text)) for text in ("10.0.0.0/8", "10.1.2.3/32"))
    assert terms.either(terms.every(a, b), terms.every(a, c)) is terms.every(a, terms.either(b, c))
    assert terms.either(a, terms.every(a, b)) is a
    assert terms.every(a, terms.either(a, b)) is a
    assert terms.either(terms.every(a, terms.either(b, c)), c) is terms.either(terms.every(a, b), c)
    assert terms.every(wide, narrow) is narrow
    assert terms.network(ip_network("0.0.0.0/1")) is ANYTHING
    assert isinstance(terms.every(a, b), Every)
    assert isinstance(terms.either(a, b), Either)


_SETS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=5)


def _ranges(pairs: list[tuple[int, int]]) -> Ranges:
    made: Ranges = ()
    for pair in pairs:
        made = united(made, ((min(pair), max(pair)),))
    return made


def _members(ranges: Ranges) -> set[int]:
    return {number for number in range(50) if any(a <= number <= b for a, b in ranges)}


@given(_SETS, _SETS)
def test_ranges(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    """As sets of numbers."""
    one, other = _ranges(some), _ranges(others)
    assert _members(intersected(one, other)) == _members(one) & _members(other)
    assert _members(united(one, other)) == _members(one) | _members(other)
    assert list(united(one, other)) == sorted(united(one, other))
    few = sorted(_members(one))
    assert numbers(one) == (few if len(few) <= 16 else [])
