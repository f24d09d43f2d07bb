"""Runs as a table: medians, their spread, and each recorder against the first."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from tests.bench.measure import Run

Columns = Sequence[tuple[str, int]]
"""Titles and widths."""

_COLUMNS = (
    ("", 13),
    ("frames lost, %", 18),
    ("CPU ns per packet", 20),
    ("ratio", 7),
    ("of floor", 9),
    ("injected", 21),
    ("memory", 9),
    ("start + stop", 12),
    ("apart", 7),
)


def table(runs: Sequence[Run], names: Sequence[str], floors: Sequence[float]) -> list[str]:
    """Lines for one traffic shape: `names` in this order, whether they have runs or not."""
    lines = [line([title for title, _ in _COLUMNS])]
    floor = statistics.median(floors)
    first = [run.nanoseconds for run in runs if run.recorder == names[0]]
    for name in names:
        own = [run for run in runs if run.recorder == name]
        if not own:
            lines.append(line([name, "not installed"]))
            continue
        cost = statistics.median(run.nanoseconds for run in own)
        lines.append(
            line(
                [
                    name,
                    spread(own, lambda run: run.loss, ".2f"),
                    spread(own, lambda run: run.nanoseconds, ".0f"),
                    f"{cost / statistics.median(first):.2f}" if first else "-",
                    f"{cost / floor:.1f}",
                    speed(own),
                    f"{statistics.median(run.memory for run in own) / 2**20:.1f} MiB",
                    f"{statistics.median(run.start_cpu + run.stop_cpu for run in own):.2f} s",
                    f"{statistics.median(run.helpers.whole_cpu for run in own):.2f} s",
                ]
            )
        )
    middle = _figures(floors, ".0f")
    lines.append(line(["dd (floor)", "", middle, _ratio(floor, first), "1.0"]))
    return lines


def _ratio(floor: float, first: Sequence[float]) -> str:
    return f"{floor / statistics.median(first):.2f}" if first else "-"


def speed(runs: Sequence[Run]) -> str:
    """How fast the frames came."""
    packets = statistics.median(run.megapackets for run in runs)
    bits = statistics.median(run.gigabits for run in runs)
    return f"{packets:.2f} Mpps {bits:.1f} Gb/s"


def spread(runs: Sequence[Run], value: Callable[[Run], float], form: str) -> str:
    """The median of a figure, and in brackets the smallest and the largest."""
    return _figures([value(run) for run in runs], form)


def _figures(values: Sequence[float], form: str) -> str:
    """The median, and in brackets the smallest and the largest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}}-{high:{form}})"


def line(cells: Sequence[str], columns: Columns = _COLUMNS) -> str:
    """One line of a table."""
    widths = (width for _, width in columns)
    padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)]
    return "  ".join(padded).rstrip()
