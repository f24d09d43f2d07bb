"""Instants, as people write them: how long ago, a time of day, or a date.

Everything is UTC unless an offset is written, as capd prints nothing else.  Instants are whole
nanoseconds since 1970, the unit of packet stamps, so that one that was printed is found again.
"""

from __future__ import annotations

import calendar
import re
import time
from datetime import UTC, datetime

from capd.units import DURATIONS, MAX, SECOND, parse_duration, shown

EXAMPLES = '"2h" (ago), "today", "03:12" or "2026-11-24 03:12:05"'

_CLOCK = r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
_ZONE = r"(?: ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|today|yesterday"
_DATED = re.compile(rf"({_DATE})(?:[T ]{_CLOCK}{_ZONE})?", re.IGNORECASE)
_TIME_OF_DAY = re.compile(rf"{_CLOCK}(?: ?(?:Z|UTC))?", re.IGNORECASE)
_AGO = re.compile(r"-?([0-9][0-9.]* ?)([A-Za-z]+?)(?: ago)?")
_SINCE_1970 = re.compile(r"@([0-9]{1,10})(?:\.([0-9]{1,9}))?")


def parse_time(text: str, now: int) -> int:
    """The instant that is meant; `now` and it in ns since 1970.

    `2h`, `-10m`, `1.5h ago`: so long ago; `now`; `today`, `yesterday`: their beginning; `03:12`,
    `03:12:05.25`: the last time that it was; `2026-11-24`, `yesterday 03:12`,
    `2026-11-24T03:12:05.123456789+01:00`; `@1763954320.5`: seconds since 1970.
    ValueError says what is wrong and what to write.
    """
    plain = text.strip()
    instant = now if plain.lower() == "now" else None
    if match := _AGO.fullmatch(plain):
        number, unit = match.groups()
        instant = now - parse_duration(number + ("min" if unit == "m" else unit))
    elif match := _SINCE_1970.fullmatch(plain):
        instant = int(match[1]) * SECOND + _fraction(match[2])
    elif match := _TIME_OF_DAY.fullmatch(plain):
        instant = _day("today", text, now) + _since_midnight(match.groups(), text)
        instant -= DURATIONS["d"] if instant > now else 0
    elif match := _DATED.fullmatch(plain):
        date, *clock, zone = match.groups()
        instant = _day(date.lower(), text, now) - _offset(zone, text)
        instant += _since_midnight(clock, text) if clock[0] else 0
    if instant is None:
        raise ValueError(f"{shown(text)} is not a time: write it as {EXAMPLES}")
    if not 0 <= instant <= MAX:
        raise ValueError(f"{shown(text)} is before 1970 or after 2262: no packet has such a stamp")
    return instant


def _day(date: str, text: str, now: int) -> int:
    """The beginning of a day in UTC."""
    if date in ("today", "yesterday"):
        return now - now % DURATIONS["d"] - (DURATIONS["d"] if date == "yesterday" else 0)
    year, month, day = map(int, date.split("-"))
    try:
        moment = datetime(year, month, day, tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{shown(text)} is no day of the calendar") from error
    return calendar.timegm(moment.timetuple()) * SECOND


def _since_midnight(clock: list[str | None] | tuple[str | None, ...], text: str) -> int:
    """ns, of hours, minutes, perhaps seconds, perhaps a fraction."""
    hour, minute, second = (int(part or 0) for part in clock[:3])
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{shown(text)} is no time of day: it goes from 00:00:00 to 23:59:59")
    return ((hour * 60 + minute) * 60 + second) * SECOND + _fraction(clock[3])


def _fraction(digits: str | None) -> int:
    return int((digits or "").ljust(9, "0"))


def _offset(zone: str | None, text: str) -> int:
    """How much later it is there, in ns."""
    if zone is None or zone.upper() in ("Z", "UTC"):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"{shown(text)} has an offset that no place has: write it as +01:00")
    later = hours * DURATIONS["h"] + minutes * DURATIONS["min"]
    return -later if zone[0] == "-" else later


def clock(instant: int) -> str:
    """To the second, as people read it: `2026-11-24 03:12:05`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(instant // SECOND))
