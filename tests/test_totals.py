"""Counters that wrap, begin anew, or are not there: totals grow by what is known, no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.daemon.totals import Totals

WRAP = 2**32


def grown(*readings: int | None) -> int | None:
    """What a total says after these."""
    totals = Totals()
    for value in readings:
        totals.feed({"x": value})
    return totals.values["x"]


def test_first_reading_is_the_beginning() -> None:
    """What happened before somebody watched is nobody's loss."""
    assert grown(10**15) == 0
    assert grown(10**15, 10**15 + 7) == 7


@pytest.mark.fault(4)
def test_wrap_at_32_bits() -> None:
    """Of softnet's counters, and of many a NIC's."""
    assert grown(WRAP - 5, 10) == 15
    assert grown(WRAP - 1, 0) == 1
    assert grown(WRAP - 5, WRAP - 1, 3, 4) == 9


@pytest.mark.fault(4)
def test_counter_that_begins_anew() -> None:
    """A driver that was loaded again: no leap, and it goes on from there."""
    assert grown(5_000_000, 3) == 0
    assert grown(5_000_000, 3, 10) == 7
    assert grown(2**40, 12, 20) == 8
    assert grown(WRAP // 2, 12) == 0
    assert grown(100, 98, 101) == 3


@pytest.mark.fault(53)
def test_unknown_is_not_zero() -> None:
    """And what passes meanwhile is not guessed."""
    totals = Totals()
    totals.feed({"x": 5, "y": None})
    assert totals.values == {"x": 0, "y": None}
    totals.feed({"x": None, "y": 7})
    assert totals.values == {"x": None, "y": 0}
    totals.feed({"x": 900, "y": 9})
    assert totals.values == {"x": 0, "y": 2}
    totals.feed({"y": 9})
    assert totals.values == {"x": None, "y": 2}


def test_something_else_is_counted_from_now_on() -> None:
    """The total stays, the new counter's past is not in it."""
    totals = Totals()
    totals.feed({"x": 5})
    totals.feed({"x": 9})
    totals.rebase()
    totals.feed({"x": 1000})
    totals.feed({"x": 1001})
    assert totals.total("x") == 5


@pytest.mark.fault(4)
@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**27), max_size=30))
def test_a_counter_of_32_bits_adds_up(start: int, steps: list[int]) -> None:
    """Wherever it stands, and however often it wraps."""
    readings, value = [start % WRAP], start
    for step in steps:
        value += step
        readings.append(value % WRAP)
    assert grown(*readings) == sum(steps)


@pytest.mark.fault(4)
@given(st.lists(st.none() | st.integers(0, 2**64 - 1), min_size=1))
def test_never_falls(readings: list[int | None]) -> None:
    """Whatever is read, without an exception."""
    totals, before = Totals(), 0
    for value in readings:
        totals.feed({"x": value})
        assert totals.total("x") >= before
        assert (totals.values["x"] is None) == (value is None)
        before = totals.total("x")


@given(st.integers(0, 2**16 - 1), st.lists(st.integers(0, 2**16 - 1), max_size=30))
def test_a_counter_that_is_narrow(start: int, steps: list[int]) -> None:
    """r8169 has one of 16 bits, whose difference of differences may even be below 0."""
    totals, value = Totals(lambda name: 16 if name == "x" else 64), start
    totals.feed({"x": value})
    for step in steps:
        value += step
        totals.feed({"x": value % 2**16 - 2**16})
    assert totals.total("x") == sum(steps)
