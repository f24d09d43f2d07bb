"""The order of a ring's segments, also where its numbers have begun again."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.numbering import CLOCK_SET, Numbering

HOUR = 3600 * 10**9
DAY = 24 * HOUR
NOW = 1_790_000_000 * 10**9


class One(NamedTuple):
    """As much of a segment as decides."""

    seq: int
    stamp: int


def run_of(first: int, count: int, since: int) -> list[One]:
    """Hourly ones, numbered from `first`."""
    return [One(first + at, since + at * HOUR) for at in range(count)]


def in_order(found: list[One]) -> list[One]:
    return Numbering[One]().in_order(found, NOW)


@pytest.mark.parametrize("kept", [1, 20, 49])
def test_numbers_that_began_again(kept: int) -> None:
    """What the older numbering left stands before, whichever of its segments are still there."""
    old, new = run_of(1, 100, NOW - 30 * DAY)[kept:], run_of(1, 50, NOW - 5 * DAY)
    assert in_order([*new, *old]) == [*old, *new]
    newest = run_of(1, 20, NOW - DAY)
    assert in_order([*newest, *new, *old]) == [*old, *new, *newest]


def test_a_restart_is_remembered() -> None:
    """When retention has taken the last pair that proved it."""
    old, new = run_of(1, 100, NOW - 30 * DAY), run_of(1, 50, NOW - 5 * DAY)
    order = Numbering[One]()
    assert order.in_order([*old, *new], NOW) == [*old, *new]
    assert order.in_order([*new, *old[50:]], NOW) == [*old[50:], *new]


def test_what_is_found_again() -> None:
    """Is in the same order, whatever is done to the list; and what is new has its place."""
    hours = run_of(1, 5, NOW - DAY)
    found, order = hours[3:0:-1], Numbering[One]()
    for _ in range(3):
        ordered = order.in_order(found, NOW)
        assert ordered == hours[1:4]
        ordered.clear()
    found[0] = hours[0]
    assert order.in_order(found, NOW) == hours[:3]
    found.append(hours[4])
    assert order.in_order(found, NOW) == [*hours[:3], hours[4]]


@given(st.lists(st.sampled_from([0, 5, CLOCK_SET, NOW - DAY, NOW - HOUR, NOW, NOW + DAY])))
def test_numbers_that_never_began_again(stamps: list[int]) -> None:
    """Are the order, whatever the clock did."""
    found = [One(seq, stamp) for seq, stamp in enumerate(stamps, 1)]
    assert in_order(found[::-1]) == found


@given(st.lists(st.builds(One, st.integers(1, 9), st.integers(CLOCK_SET, NOW)), unique=True))
def test_nothing_is_left_out(found: list[One]) -> None:
    """And what a numbering is taken to be has each number once, in order."""
    ordered = in_order(found)
    assert sorted(ordered) == sorted(found)
    falls = sum(one.seq >= after.seq for one, after in itertools.pairwise(ordered))
    most = max((sum(one.seq == seq for one in found) for seq in range(10)), default=0)
    assert falls >= most - 1


@pytest.mark.parametrize("wrong", [0, 5, NOW + DAY])
def test_what_has_no_stamp(wrong: int) -> None:
    """Stands in the last numbering that lacks its number."""
    old, new = run_of(1, 9, NOW - 30 * DAY), run_of(1, 5, NOW - 5 * DAY)
    later, earlier = One(6, wrong), One(10, wrong)
    assert in_order([*old, *new, later]) == [*old, *new, later]
    missing = new[:2] + new[3:]
    assert in_order([*old, *missing, One(3, wrong)])[-3] == One(3, wrong)
    assert in_order([*old, *new, earlier])[-1] == earlier
