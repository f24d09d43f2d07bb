"""Sizes, durations and shares, as people write them and as capd prints them.

A bare number is never accepted: `4096000` was meant as bytes, read as KiB, and became
4 GB (tcpdump's -B).  Sizes are whole bytes; durations are whole nanoseconds, the unit
of packet stamps, so that boundaries are exact.
"""

from __future__ import annotations

import json
import re
import time

SECOND = 1_000_000_000

SIZES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
DURATIONS = {
    "ms": 10**6,
    "s": SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
}
MAX = 2**63 - 1  # what a file offset and a time stamp of the kernel can be

_NUMBER = r"([0-9]{1,20})(?:\.([0-9]{1,20}))?"
_NUMBER_UNIT = re.compile(_NUMBER + r" ?([A-Za-z]+)?")
_SHARE = re.compile(_NUMBER + r" ?%")


def shown(value: object) -> str:
    """A value of a config file as it stands there, cut short when it is long."""
    text = printable(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= 60 else f"{text[:57]}..."


def printable(text: str) -> str:
    """A text with escapes in place of what would move a terminal's cursor, or worse."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def readable(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def _parse(text: object, units: dict[str, int], base: str, example: str) -> int:
    if not isinstance(text, str):
        number = isinstance(text, int | float) and not isinstance(text, bool)
        problem = "has no unit" if number else "is not a number with a unit"
        raise ValueError(f"{shown(text)} {problem}: write it as {example}")
    match = _NUMBER_UNIT.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is not a number with a unit: write it as {example}")
    whole, fraction, unit = match.groups(default="")
    if not unit:
        raise ValueError(f"{shown(text)} has no unit: write it as {example}")
    if unit not in units:
        known = ", ".join(units)
        raise ValueError(f"{shown(text)} has an unknown unit {shown(unit)}: use one of {known}")
    scale: int = 10 ** len(fraction)
    value, rest = divmod(int(whole + fraction) * units[unit], scale)
    if rest:
        raise ValueError(f"{shown(text)} is not a whole number of {base}")
    if value > MAX:
        raise ValueError(f"{shown(text)} is too large")
    return value


def parse_size(text: object) -> int:
    """`"256MiB"` -> 268435456 bytes.  ValueError says what is wrong and what to write."""
    return _parse(text, SIZES, "bytes", '"256MiB"')


def parse_duration(text: object) -> int:
    """`"1h"` -> 3600000000000 ns.  ValueError says what is wrong and what to write."""
    return _parse(text, DURATIONS, "nanoseconds", '"500ms" or "1h"')


def parse_share(text: object) -> float:
    """`"95%"` -> 0.95.  ValueError says what is wrong and what to write."""
    match = _SHARE.fullmatch(text) if isinstance(text, str) else None
    share = float(f"{match[1]}.{match[2] or 0}") if match else 0.0
    if not 0 < share <= 100:
        raise ValueError(f'{shown(text)} is not a share above 0% and up to 100%: write it as "95%"')
    return share / 100


def format_size(size: int) -> str:
    """Four significant digits in the largest binary unit that fits: `1 GiB`, `1.211 GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= SIZES[unit]:
            value = size / SIZES[unit]
            return f"{value:.4g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
    return f"{size} B"


def format_duration(nanoseconds: int) -> str:
    """Exact, in the largest unit that it is a whole number of: `1 h`, `90 s`, `0.5 ms`."""
    for unit in ("d", "h", "min", "s"):
        if nanoseconds and nanoseconds % DURATIONS[unit] == 0:
            return f"{nanoseconds // DURATIONS[unit]} {unit}"
    whole, rest = divmod(nanoseconds, DURATIONS["ms"])
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".") + " ms"


def about(nanoseconds: int) -> str:
    """A duration to read, not to compute with: `3 h`, `40 s`."""
    for name, unit in (("days", "d"), ("h", "h"), ("min", "min")):
        if nanoseconds >= 2 * DURATIONS[unit]:
            return f"{nanoseconds / DURATIONS[unit]:,.0f} {name}"
    return f"{max(0, nanoseconds) / SECOND:.0f} s"


def format_count(count: int) -> str:
    """`1234567` -> `1,234,567`."""
    return f"{count:,}"


def format_time(nanoseconds: int) -> str:
    """An instant since 1970 as RFC 3339 in UTC, to the nanosecond."""
    seconds, rest = divmod(nanoseconds, SECOND)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{rest:09}Z"
