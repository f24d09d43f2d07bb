"""Fine samples from around a loss, as a table: one line for each thing that was sampled.

Whatever the daemon puts into a sample is shown under its own name: numbers by their least, their
most and a line of marks over time, words by their changes.  `at` is the time, ns since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from capd.units import SECOND, format_count, printable

TIME = "at"
_ITEMS = 16  # of a list in a sample: no more of them are shown
_WORDS = 4  # different ones of a thing that is no number


class Line(NamedTuple):
    """One thing that was sampled."""

    name: str
    least: str  # "" where it is no number
    most: str
    marks: str  # over time; the different words where it is no number


def lines(samples: Sequence[dict[str, Any]], columns: int, levels: str) -> list[Line]:
    """In the order in which they come in the samples; marks in at most so many columns."""
    flat = [dict(_flat("", sample)) for sample in samples]
    names = dict.fromkeys(name for sample in flat for name in sample if name != TIME)
    return [_line(name, [sample.get(name) for sample in flat], columns, levels) for name in names]


def span(samples: Sequence[dict[str, Any]]) -> tuple[int, int] | None:
    """From when to when they are, ns since 1970; None if they do not tell."""
    times = [one[TIME] for one in samples if isinstance(one.get(TIME), int) and one[TIME] >= SECOND]
    return (min(times), max(times)) if times else None


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), one)
    elif isinstance(value, list):
        for at, one in enumerate(value[:_ITEMS]):
            yield from _flat(f"{name}[{at}]", one)
    else:
        yield name, value


def _line(name: str, values: Sequence[object], columns: int, levels: str) -> Line:
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers:
        words = list(dict.fromkeys(str(value) for value in values if value is not None))
        more = ["..."] if len(words) > _WORDS else []
        return Line(printable(name), "", "", printable(", ".join(words[:_WORDS] + more)))
    least, most = min(numbers), max(numbers)
    parts = [_part(values, at, columns) for at in range(min(columns, len(values)))]
    bottom, height = min(0, least), (most - min(0, least)) or 1
    marks = "".join(
        " " if value is None else levels[round((value - bottom) / height * (len(levels) - 1))]
        for value in parts
    )
    return Line(printable(name), _number(least), _number(most), marks)


def _part(values: Sequence[object], at: int, columns: int) -> float | None:
    """The largest number in one of the columns."""
    count = min(columns, len(values))
    part = values[at * len(values) // count : (at + 1) * len(values) // count]
    return max((value for value in part if isinstance(value, int | float)), default=None)


def _number(value: float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format_count(value) if isinstance(value, int) else f"{value:.4g}"
