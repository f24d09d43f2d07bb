"""Sizes, durations and shares: what is accepted, what is refused, and back."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.units import (
    MAX,
    SECOND,
    SIZES,
    about,
    format_count,
    format_duration,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
    shown,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("1B", 1),
        ("256MiB", 256 * 2**20),
        ("256 MiB", 256 * 2**20),
        ("256MB", 256_000_000),
        ("1kB", 1000),
        ("1.5KiB", 1536),
        ("0.1kB", 100),
        ("007B", 7),
        ("9223372036854775807B", MAX),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Decimal and binary units are what they say."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", 500_000_000),
        ("0.5s", 500_000_000),
        ("0.000001ms", 1),
        ("1h", 3600 * 10**9),
        ("1.5 min", 90 * 10**9),
        ("30d", 30 * 86400 * 10**9),
    ],
)
def test_durations(text: str, duration: int) -> None:
    """Exact to the nanosecond."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "share"), [("95%", 0.95), ("29%", 0.29), ("100 %", 1.0), ("0.5%", 0.005)]
)
def test_shares(text: str, share: float) -> None:
    """Of one."""
    assert parse_share(text) == share


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (4096000, "4096000 has no unit"),
        (1.5, "1.5 has no unit"),
        ("256", '"256" has no unit'),
        ("256 ", '"256 " has no unit'),
        (True, "true is not a number"),
        ([1], "[1] is not a number"),
        (None, "not a number"),
        ("", "not a number"),
        ("MiB", "not a number"),
        ("-1B", "not a number"),
        ("+1B", "not a number"),
        ("1e3B", "not a number"),
        ("1,5GiB", "not a number"),
        ("1.GiB", "not a number"),
        ("1  GiB", "not a number"),
        ("1GiB\n", "not a number"),
        ("\u0663GiB", "not a number"),
        ("inf B", "not a number"),
        ("1" * 21 + "B", "not a number"),
        ("1G", 'unknown unit "G": use one of B, kB'),
        ("1gib", "unknown unit"),
        ("1KB", "unknown unit"),
        ("1Mb", "unknown unit"),
        ("1s", "unknown unit"),
        ("0.5B", "not a whole number of bytes"),
        ("0.0000000000000000001TiB", "not a whole number"),
        ("9223372036854775808B", "too large"),
        ("99999999999999999999TiB", "too large"),
    ],
)
def test_refused_sizes(value: object, reason: str) -> None:
    """With a reason that quotes the value as the file has it."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_size(value)


@pytest.mark.parametrize("value", ["1m", "1us", "1B", "5", 5, "0.0000001ms", "1h30min", "300000d"])
def test_refused_durations(value: object) -> None:
    """Too fine, too long, not a duration."""
    with pytest.raises(ValueError, match=r"unit|whole|large|number"):
        parse_duration(value)


@pytest.mark.parametrize(
    "value", [95, 0.95, "95", "0%", "0.0%", "100.1%", "-5%", "%", "1e1%", True]
)
def test_refused_shares(value: object) -> None:
    """A share is written with its sign."""
    with pytest.raises(ValueError, match="not a share"):
        parse_share(value)


@given(st.integers(0, MAX))
def test_duration_there_and_back(duration: int) -> None:
    """What is printed can be written, and means the same."""
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(1, 999), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB"]))
def test_size_there_and_back(number: int, unit: str) -> None:
    """Whole binary sizes are printed as they were written."""
    assert format_size(number * SIZES[unit]) == f"{number} {unit}"
    assert parse_size(format_size(number * SIZES[unit])) == number * SIZES[unit]


@given(st.integers(0, MAX))
def test_printed_size_is_close(size: int) -> None:
    """Four digits are right."""
    number, unit = format_size(size).split()
    assert float(number) * SIZES[unit] == pytest.approx(size, rel=1e-3)


@given(
    st.sampled_from([parse_size, parse_duration, parse_share]),
    st.text(" 1.%GiBsm\n\x1b\udc80") | st.integers() | st.floats() | st.lists(st.text()),
)
def test_anything_else_is_a_clear_error(parse: Callable[[object], float], value: object) -> None:
    """No other exception, and one short line."""
    problem = ""
    try:
        parse(value)
    except ValueError as error:
        problem = str(error)
    assert problem.isprintable()
    assert len(problem) < 250


def test_shown() -> None:
    """As it stands in the file, on one line, short."""
    assert shown("a") == '"a"'
    assert shown(False) == "false"
    assert shown("\x1b\n\u202e") == '"\\u001b\\n\\u202e"'
    assert shown("x" * 10**6).endswith("x...")
    assert len(shown("x" * 10**6)) == 60


def test_printed_forms() -> None:
    """What people read."""
    assert [format_size(size) for size in (0, 1023, 1024, 1_300_000_000)] == [
        "0 B",
        "1023 B",
        "1 KiB",
        "1.211 GiB",
    ]
    assert [format_duration(time) for time in (0, 1, 1_500_000_000, 90 * 10**9, 3600 * 10**9)] == [
        "0 ms",
        "0.000001 ms",
        "1500 ms",
        "90 s",
        "1 h",
    ]
    assert format_count(1234567) == "1,234,567"


def test_about() -> None:
    """To be read, not to be computed with."""
    seconds = (0.4, 90, 119, 121, 7000, 7201, 100_000, 172_800, 10**9)
    assert [about(round(each * SECOND)) for each in seconds] == [
        *("0 s", "90 s", "119 s", "2 min", "117 min", "2 h", "28 h", "2 days", "11,574 days")
    ]
