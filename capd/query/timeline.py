"""Losses over time, as a plot of characters: a row for each interface and stage.

Pure.  The height of a mark says how many packets were lost in its share of the range, by their
logarithm and alike in all rows, so that one packet is seen beside a million.  Stages are never
summed: they have rows of their own.  A gap, in which nobody could see packets, is a line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from capd.ledger import MACHINE
from capd.losses import STAGES, Loss
from capd.times import clock
from capd.units import DURATIONS, SECOND, format_count, printable


class Marks(NamedTuple):
    """The characters that are drawn with."""

    levels: str  # for few packets to many
    gap: str
    unknown: str
    edge: str
    tick: str
    axis: str


UNICODE = Marks("▁▂▃▄▅▆▇█", "─", "?", "│", "┴", "─")
ASCII = Marks(".:;+=*#@", "-", "?", "|", "+", "-")

LEAST = 10  # columns of the plot, however narrow the terminal is

# Between two ticks, from which the first is taken whose labels have room.
_STEPS = (
    *(seconds * SECOND for seconds in (1, 2, 5, 10, 15, 30)),
    *(minutes * DURATIONS["min"] for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * DURATIONS["h"] for hours in (1, 2, 3, 6, 12)),
    *(days * DURATIONS["d"] for days in (1, 2, 7, 14, 28, 91, 182, 364, 1820, 18200)),
)


@dataclass
class _Row:
    """One interface and stage; by column: packets, gaps, losses of nobody knows how many."""

    packets: dict[int, float] = field(default_factory=dict)
    gaps: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)


class Scale:
    """A range of time, ns since 1970, over so many columns."""

    def __init__(self, since: int, until: int, columns: int) -> None:
        self.since, self.until, self.columns = since, max(until, since + columns), columns

    def column(self, moment: int) -> int:
        """That of a moment, which is moved into the range."""
        at = (moment - self.since) * self.columns // (self.until - self.since)
        return min(max(at, 0), self.columns - 1)

    def begin(self, column: int) -> int:
        """The moment at which a column begins."""
        return self.since + -(-(self.until - self.since) * column // self.columns)

    def shares(self, since: int, until: int) -> Iterator[tuple[int, float]]:
        """The columns that a time lies in, and what share of it is in each."""
        begin, end = max(since, self.since), min(until, self.until)
        if since == until and begin == end:
            yield self.column(since), 1.0
        elif begin < end:
            for column in range(self.column(begin), self.column(end - 1) + 1):
                inside = min(end, self.begin(column + 1)) - max(begin, self.begin(column))
                yield column, inside / (until - since)


def timeline(
    losses: Sequence[Loss], since: int, until: int, width: int, marks: Marks = UNICODE
) -> list[Text]:
    """The lines of the plot: rows by interface and stage, the axis, and what the marks mean."""
    rows: dict[tuple[str, str], _Row] = {label: _Row() for label in _labels(losses)}
    sizes = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    indent = sum(sizes) + len(sizes)
    scale = Scale(since, until, max(LEAST, width - indent - 2))
    for loss in losses:
        _place(rows[_label(loss)], loss, scale)
    most = max((max(row.packets.values(), default=0.0) for row in rows.values()), default=0.0)
    lines = []
    for label, row in rows.items():
        line = Text()
        for part, size in zip(label, sizes, strict=True):
            line.append(part + " " * (size - cell_len(part) + 1))
        line.append(marks.edge)
        line.append(_drawn(row, scale.columns, most, marks), "yellow" if row.gaps else "red")
        lines.append(line.append(marks.edge))
    lines += [Text(" " * (indent + 1) + text) for text in _axis(scale, marks)]
    return [*lines, Text(_meaning(list(rows.values()), most, marks), "dim")]


def _label(loss: Loss) -> tuple[str, str]:
    return printable(loss.interface) or MACHINE, printable(loss.stage)


def _labels(losses: Sequence[Loss]) -> list[tuple[str, str]]:
    """By interface, and in the order that packets take through the stages."""
    order = {stage: at for at, stage in enumerate(STAGES)}
    found = set(map(_label, losses))
    return sorted(found, key=lambda one: (one[0], order.get(one[1], len(order)), one[1]))


def _place(row: _Row, loss: Loss, scale: Scale) -> None:
    until = scale.until if loss.until is None else loss.until
    for column, share in scale.shares(loss.since, until):
        if loss.stage == "link":
            row.gaps.add(column)
        elif loss.packets is None:
            row.unknown.add(column)
        else:
            row.packets[column] = row.packets.get(column, 0.0) + loss.packets * share


def _drawn(row: _Row, columns: int, most: float, marks: Marks) -> str:
    return "".join(_mark(row, column, most, marks) for column in range(columns))


def _mark(row: _Row, column: int, most: float, marks: Marks) -> str:
    packets = row.packets.get(column, 0.0)
    if packets:
        level = math.log1p(packets) / math.log1p(most) * (len(marks.levels) - 1)
        return marks.levels[round(level)]
    if column in row.unknown:
        return marks.unknown
    return marks.gap if column in row.gaps else " "


def _axis(scale: Scale, marks: Marks) -> tuple[str, str]:
    """A line with ticks at round times, and one with these times, in UTC."""
    span = scale.until - scale.since
    step = next(
        (one for one in _STEPS if one * scale.columns >= (_room(one) + 2) * span), _STEPS[-1]
    )
    line, times, free = [marks.axis] * scale.columns, [" "] * scale.columns, 0
    for moment in range(-(-scale.since // step) * step, scale.until, step):
        column, text = scale.column(moment), _time(moment, step)
        line[column] = marks.tick
        if free <= column <= scale.columns - len(text):
            times[column : column + len(text)] = text
            free = column + len(text) + 1
    if not free:
        times = list(clock(scale.since))
    return "".join(line), "".join(times).rstrip()


def _room(step: int) -> int:
    """Columns that the times take."""
    return len(_time(step, step))


def _time(moment: int, step: int) -> str:
    day, form = moment % DURATIONS["d"] == 0, "%H:%M:%S"
    if step >= 364 * DURATIONS["d"]:
        form = "%Y-%m"
    elif day:
        form = "%m-%d"
    elif step >= DURATIONS["min"]:
        form = "%H:%M"
    return time.strftime(form, time.gmtime(moment // SECOND))


def _meaning(rows: Sequence[_Row], most: float, marks: Marks) -> str:
    """What the marks that are there stand for."""
    words = []
    if most:
        packets = f"{format_count(math.ceil(most))} packet{'' if most <= 1 else 's'}"
        words.append(f"{marks.levels[0]} to {marks.levels[-1]}: up to {packets}, by logarithm")
    if any(row.gaps for row in rows):
        words.append(f"{marks.gap} a gap")
    if any(row.unknown for row in rows):
        words.append(f"{marks.unknown} unknown")
    return "; ".join(words)
