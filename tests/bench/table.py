"""Runs as a table: medians, their spread, and each recorder against the first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.bench.measure import Run
from tests.bench.report import Figures
from tests.bench.report import spread as figures

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
    ("not on disk", 11),
    ("beside", 6),
)
_COST = "CPU ns per packet"
_MEASURED: Mapping[str, Callable[[Run], float]] = {
    "lost, %": lambda run: run.loss,
    _COST: lambda run: run.nanoseconds,
    "million frames a second": lambda run: run.megapackets,
    "gigabits a second": lambda run: run.gigabits,
    "memory, bytes of PSS": lambda run: run.memory,
    "start and stop, CPU s": lambda run: run.start_cpu + run.stop_cpu,
    "apart, CPU s": lambda run: run.helpers.whole_cpu,
    "not on disk at the end, bytes": lambda run: run.dirty,
    "searches beside it": lambda run: run.beside,
}


def summary(runs: Sequence[Run], floors: Sequence[float] = ()) -> dict[str, dict[str, Figures]]:
    """By recorder, what was measured: its median and its spread, and the CPU's ratio to the first.

    What has no meaning, CPU for each packet where none was captured, is left out.
    """
    found: dict[str, dict[str, Figures]] = {}
    for name in dict.fromkeys(run.recorder for run in runs):
        own = [run for run in runs if run.recorder == name]
        values = {what: [*filter(math.isfinite, map(f, own))] for what, f in _MEASURED.items()}
        found[name] = {what: figures(each) for what, each in values.items() if each}
    if floors:
        found["dd (floor)"] = {_COST: figures(floors)}
    costs = {name: of[_COST]["median"] for name, of in found.items() if _COST in of}
    if runs and (first := runs[0].recorder) in costs:
        for name, cost in costs.items():
            found[name][f"ratio to {first}"] = {"median": cost / costs[first]}
    return found


def table(entry: Mapping[str, Any]) -> list[str]:
    """Lines for one shape under one condition: an entry of what `tests/bench/run --json` writes."""
    runs = [Run.restored(run) for run in entry["runs"]]
    names, floors = list(entry["recorders"]), entry["floors"]
    lines = [f"{entry['shape']}, {entry['condition']}: {entry['text']}"]
    lines.append(f"{entry['frames']:,} frames, {entry['bytes'] / 1e9:.2f} GB")
    lines.append(line([title for title, _ in _COLUMNS]))
    floor = statistics.median(floors)
    first = [run.nanoseconds for run in runs if run.recorder == names[0]]
    for name in names:
        own = [run for run in runs if run.recorder == name]
        if why := entry["recorders"][name]:
            failed = entry["rounds"] - len(own)
            lines.append(line([name, f"{failed} of {entry['rounds']} rounds: {why}"]))
        if not own:
            continue
        cost = statistics.median(run.nanoseconds for run in own)
        lines.append(line([name, *_cells(own, cost, floor, first)]))
    middle = _shown(floors, ".0f")
    lines.append(line(["dd (floor)", "", middle, _ratio(floor, first), "1.0"]))
    return lines


def _cells(own: list[Run], cost: float, floor: float, first: Sequence[float]) -> list[str]:
    helped = statistics.median(run.helpers.whole_cpu for run in own)
    return [
        spread(own, lambda run: run.loss, ".2f"),
        spread(own, lambda run: run.nanoseconds, ".0f"),
        _ratio(cost, first),
        f"{cost / floor:.1f}",
        speed(own),
        f"{statistics.median(run.memory for run in own) / 2**20:.1f} MiB",
        f"{statistics.median(run.start_cpu + run.stop_cpu for run in own):.2f} s",
        f"{helped:.2f} s",
        f"{statistics.median(run.dirty for run in own) / 1e9:.2f} GB",
        f"{statistics.median(run.beside for run in own):.0f}",
    ]


def _ratio(cost: float, first: Sequence[float]) -> str:
    return f"{cost / statistics.median(first):.2f}" if first else "-"


def speed(runs: Sequence[Run]) -> str:
    """How fast the frames came."""
    packets = statistics.median(run.megapackets for run in runs)
    bits = statistics.median(run.gigabits for run in runs)
    return f"{packets:.2f} Mpps {bits:.1f} Gb/s"


def spread(runs: Sequence[Run], value: Callable[[Run], float], form: str) -> str:
    """The median of a figure, and in brackets the smallest and the largest."""
    return _shown([value(run) for run in runs], form)


def _shown(values: Sequence[float], form: str) -> str:
    found = figures(values)
    return f"{found['median']:{form}} ({found['least']:{form}}-{found['most']:{form}})"


def line(cells: Sequence[str], columns: Columns = _COLUMNS) -> str:
    """One line of a table."""
    widths = (width for _, width in columns)
    padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)]
    return "  ".join(padded).rstrip()
