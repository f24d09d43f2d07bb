"""Instants as people write them: what is accepted, what is refused, and that none is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.times import EXAMPLES, clock, parse_time
from capd.units import MAX, SECOND, format_time

NOON = 1_763_985_600 * SECOND  # 2025-11-24 12:00:00 UTC
NOW = NOON + 34 * 60 * SECOND + 5 * SECOND + 250_000_000
HOUR = 3600 * SECOND
MIDNIGHT = NOON - 12 * HOUR


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", NOW),
        ("2h", NOW - 2 * HOUR),
        ("30 min ago", NOW - HOUR // 2),
        ("30m", NOW - HOUR // 2),
        ("-30m", NOW - HOUR // 2),
        ("-2h", NOW - 2 * HOUR),
        ("1.5h", NOW - 3 * HOUR // 2),
        ("0.000001ms", NOW - 1),
        ("today", MIDNIGHT),
        ("Yesterday", MIDNIGHT - 24 * HOUR),
        ("yesterday 03:12", MIDNIGHT - 21 * HOUR + 12 * 60 * SECOND),
        ("today 03:12 UTC", MIDNIGHT + 3 * HOUR + 12 * 60 * SECOND),
        ("12:34", NOON + 34 * 60 * SECOND),
        ("12:34:05.25", NOW),
        ("12:34:05.250000001", NOW + 1 - 24 * HOUR),  # has not been yet today
        ("23:59:59Z", MIDNIGHT - SECOND),
        ("2025-11-24", MIDNIGHT),
        ("2025-11-24 12:00", NOON),
        (" 2025-11-24 12:00 UTC ", NOON),
        ("2025-11-24T12:00:00Z", NOON),
        ("2025-11-24t12:00:00.000000001z", NOON + 1),
        ("2025-11-24 13:00+01:00", NOON),
        ("2025-11-24 06:30:00 -0530", NOON),
        ("2024-02-29", 1_709_164_800 * SECOND),
        ("1970-01-01", 0),
        ("2262-04-11 23:47:16.854775807", MAX),
        ("@1763985600", NOON),
        ("@1763985600.5", NOON + SECOND // 2),
    ],
)
def test_times(text: str, instant: int) -> None:
    """UTC, to the nanosecond."""
    assert parse_time(text, NOW) == instant


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a time"),
        ("5", "is not a time"),
        ("--2h", "is not a time"),
        ("2M", "unknown unit"),
        ("2 fortnights", "unknown unit"),
        ("2H", "unknown unit"),
        ("1.2.3h", "is not a number"),
        ("last tuesday", "is not a time"),
        ("2025-11-31", "no day of the calendar"),
        ("2025-02-29 03:00", "no day of the calendar"),
        ("0000-01-01", "no day of the calendar"),
        ("24:00", "no time of day"),
        ("2025-11-24 12:60", "no time of day"),
        ("2016-12-31 23:59:60", "no time of day"),
        ("2025-11-24 12", "is not a time"),
        ("2025-11-24 12:00 CET", "is not a time"),
        ("2025-11-24 12:00+25:00", "an offset that no place has"),
        ("24.11.2025 12:00", "is not a time"),
        ("11/24/2025", "is not a time"),
        ("2025-11-24 12:00:00.1234567890", "is not a time"),
        ("1969-12-31 23:59", "before 1970"),
        ("1970-01-01 00:00+01:00", "before 1970"),
        ("2262-04-11 23:47:16.854775808", "after 2262"),
        ("9999-12-31", "after 2262"),
        ("30000d", "before 1970"),
        ("@9999999999", "after 2262"),
        ("\uff12h", "is not a time"),
        ("2h\n--config", "is not a time"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    """With the text itself and, where it is no time at all, with what to write."""
    with pytest.raises(ValueError, match=problem) as refused:
        parse_time(text, NOW)
    assert "\n" not in str(refused.value)
    if problem == "is not a time":
        assert str(refused.value).endswith(EXAMPLES)


@given(st.text() | st.from_regex(r"[0-9:TZ. +\-@a-z]{0,30}"), st.integers(0, MAX))
def test_nonsense_is_an_instant_or_an_error(text: str, now: int) -> None:
    """Never another error, never an instant that no packet can have."""
    said = ""
    try:
        assert 0 <= parse_time(text, now) <= MAX
    except ValueError as error:
        said = str(error)
    assert said.isprintable()


@given(st.integers(0, MAX), st.integers(0, MAX))
def test_what_capd_prints_is_read_back(instant: int, now: int) -> None:
    """Exactly; and what is shorter, to the second."""
    assert parse_time(format_time(instant), now) == instant
    assert parse_time(clock(instant), now) == instant - instant % SECOND
