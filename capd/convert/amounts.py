"""Numbers as C reads them, and sizes and times as capd.toml writes them."""

from __future__ import annotations

import re
from typing import NamedTuple

from capd.errors import UsageError
from capd.units import DURATIONS, SECOND, SIZES, format_size, shown

_LEADING = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_MOST = 2**31 - 1  # an int


class Number(NamedTuple):
    """What atoi(3) makes of a word, and what it stops at without a complaint."""

    value: int
    rest: str


def leading(text: str) -> Number:
    """`"5k"` -> 5 and `"k"`: how tcpdump reads -B, -G, -W and -c.  Without a digit it is 0."""
    match = _LEADING.match(text)
    if match is None or len(match[1]) > 20:
        return Number(0, text)
    return Number(int(match[1]), text[match.end() :])


def wrapped(value: int) -> int:
    """What is left of a product in a C int: both programs multiply -B without a check."""
    return (value + 2**31) % 2**32 - 2**31


def positive(spelled: str, text: str) -> int:
    """A decimal number above 0, which dumpcap insists on.  UsageError."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:20]) <= _MOST):
        raise UsageError(f"{spelled}: {shown(text)} is not a whole number from 1 to {_MOST}")
    return int(text)


def size_text(size: int) -> str:
    """Bytes, exact, in the largest unit that they are a whole number of: `4GiB`, `10TB`."""
    return _exact(size, SIZES)


def duration_text(seconds: int) -> str:
    """Seconds, the same way: `1h`, `90s`."""
    return _exact(seconds * SECOND, DURATIONS)


def size_said(size: int) -> str:
    """For people: `4 MiB`, and `1GB (953.7 MiB)` where the two families of units differ."""
    exact, binary = size_text(size), format_size(size)
    return binary if binary.replace(" ", "") == exact else f"{exact} ({binary})"


def _exact(value: int, units: dict[str, int]) -> str:
    largest = sorted(units.items(), key=lambda unit: -unit[1])
    name, scale = next((name, scale) for name, scale in largest if value % scale == 0)
    return f"{value // scale}{name}"
