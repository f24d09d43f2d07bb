"""`capd list`: the segments as lines to read, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from capd.query.holdings import Holding
from capd.units import format_count, format_size, format_time

_LINE = "{:<15} {:>10}  {:<24}  {:<24}  {:>13}  {:>9}  {:>10}  {:>5}  {}"
_UNKNOWN = "-"


@dataclass
class Totals:
    """Of several segments."""

    segments: int = 0
    size: int = 0  # bytes on the disk
    raw_size: int = 0  # bytes of pcapng, as far as it is known
    packets: int = 0  # as far as it is known
    lost: int = 0
    unknown: int = 0  # segments whose packets are not counted here

    def add(self, holding: Holding) -> None:
        """One more."""
        self.segments += 1
        self.size += holding.size
        self.raw_size += holding.raw_size or 0
        self.packets += holding.packets or 0
        self.lost += holding.lost or 0
        self.unknown += holding.packets is None


def lines(holdings: Iterable[Holding]) -> Iterator[str]:
    """A heading, a line for each, and the totals."""
    totals = Totals()
    yield _LINE.format(
        *("interface", "number", "first packet", "last packet", "packets", "lost", "size"),
        *("ratio", "state"),
    )
    for holding in holdings:
        totals.add(holding)
        yield _LINE.format(
            holding.ring,
            holding.seq,
            _time(holding.first),
            _time(holding.last),
            _count(holding.packets),
            _count(holding.lost),
            format_size(holding.size),
            _ratio(holding),
            f"{holding.state}, held" if holding.held else holding.state,
        ).rstrip()
    text = f"{format_count(totals.segments)} segments of {format_size(totals.size)}"
    text += f", {format_count(totals.packets)} packets, {format_count(totals.lost)} lost"
    if totals.unknown:
        text += f"; {format_count(totals.unknown)} without an index are not counted"
    yield text


def as_json(holdings: Iterable[Holding]) -> str:
    """All of it; stamps in ns since 1970, sizes in bytes, null for what is not known."""
    totals, segments = Totals(), []
    for holding in holdings:
        totals.add(holding)
        segments.append(asdict(holding))
    return json.dumps({"segments": segments, "totals": asdict(totals)})


def _time(stamp: int | None) -> str:
    return _UNKNOWN if stamp is None else f"{format_time(stamp)[:23]}Z"


def _count(count: int | None) -> str:
    return _UNKNOWN if count is None else format_count(count)


def _ratio(holding: Holding) -> str:
    if holding.state != "compressed" or not holding.raw_size or not holding.size:
        return _UNKNOWN
    return f"{holding.raw_size / holding.size:.2f}"
