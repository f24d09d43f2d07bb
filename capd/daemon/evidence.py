"""What happened while packets were lost, from the ticks and samples of that time.

Pure.  It draws no conclusion: that is for `causes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from capd.daemon import softnet
from capd.daemon.gauge import Span
from capd.daemon.history import Tick

_STOPPED = "T"  # proc(5)
_IDLE = 4  # column of a cpu's line in /proc/stat, behind its name


@dataclass(frozen=True)
class Evidence:
    """Of a time in which a ring, a queue or a NIC lost packets; shares are of that time."""

    length: int = 0  # ns
    watched: bool = False  # whether this daemon looked meanwhile
    stopped: float = 0.0  # share of the looks that found the worker stopped
    absent: float = 0.0  # the same, without a worker that drains the ring
    ran: float = 0.0  # share in which the worker had a processor
    waited: float = 0.0  # and in which it waited for one
    late: bool = False  # whether the writer was late
    refused: bool = False  # whether the disk took nothing at all
    slowest: int = 0  # ns of the longest write
    writing: float = 0.0  # share in which the worker wrote
    pressure: float | None = None  # share in which something waited for a processor (PSI)
    squeezed: int = 0  # how often a processor left packets for later
    dropping: dict[int, int] = field(default_factory=dict)  # packets, by processor's queue


def of_ring(ring: str, spans: Sequence[Span], ticks: Sequence[Tick]) -> Evidence:
    """Of a ring that lost packets in these spans; `ticks` are those of the same time."""
    looks = ticks[1:] or ticks  # at the first one nothing was lost yet
    states = Counter(_state(tick, ring) for tick in looks)
    ran, waited = _shares([tick for tick in ticks if ring in tick.workers], ring)
    length = sum(span.length for span in spans)
    return Evidence(
        length=length or _length(ticks),
        watched=bool(spans),  # what was lost before the first sample was lost before us
        stopped=states[_STOPPED] / max(1, len(looks)),
        absent=states[""] / max(1, len(looks)),
        ran=ran,
        waited=waited,
        late=any(span.late for span in spans),
        refused=any(span.sample.refused for span in spans),
        slowest=max((span.sample.slowest for span in spans), default=0),
        writing=sum(span.sample.writing for span in spans) / max(1, length),
        pressure=_pressure(ticks),
        squeezed=sum(_grown(ticks, "squeezed").values()),
    )


def of_machine(ticks: Sequence[Tick]) -> Evidence:
    """Of a time in which packets were lost before they came to a ring."""
    return Evidence(
        length=_length(ticks),
        watched=bool(ticks),
        pressure=_pressure(ticks),
        squeezed=sum(_grown(ticks, "squeezed").values()),
        dropping=_grown(ticks, "dropped"),
    )


def _length(ticks: Sequence[Tick]) -> int:
    return ticks[-1].at - ticks[0].at if ticks else 0


def _state(tick: Tick, ring: str) -> str:
    return tick.workers[ring].state if ring in tick.workers else ""


def _shares(ticks: Sequence[Tick], ring: str) -> tuple[float, float]:
    """The shares of the time in which a worker ran, and waited for a processor."""
    ran = waited = passed = 0
    for before, after in pairwise(ticks):
        then, now = before.workers[ring].times, after.workers[ring].times
        if now[0] >= then[0]:  # or it is another process
            ran, waited = ran + now[0] - then[0], waited + now[1] - then[1]
            passed += after.at - before.at
    return ran / max(1, passed), waited / max(1, passed)


def _pressure(ticks: Sequence[Tick]) -> float | None:
    """Share of the time in which something that could run waited for a processor."""
    if len(ticks) < 2:
        return None
    first, last = ticks[0].stalled("cpu"), ticks[-1].stalled("cpu")
    if first is None or last is None:
        return None
    return min(1.0, (last - first) / max(1, _length(ticks)))


def _grown(ticks: Sequence[Tick], counter: str) -> dict[int, int]:
    """By how much a counter of softnet has grown, by processor."""
    if not ticks:
        return {}
    first, last = (
        {
            at if row.cpu is None else row.cpu: row.counters[counter] or 0
            for at, row in enumerate(softnet.parse(tick.machine["softnet"]))
        }
        for tick in (ticks[0], ticks[-1])
    )
    grown = {cpu: (value - first.get(cpu, value)) % 2**32 for cpu, value in last.items()}
    return {cpu: count for cpu, count in grown.items() if count}


def idlest(ticks: Sequence[Tick]) -> int | None:
    """The processor with the most time to spare; None: nobody looked."""
    looks = [tick for tick in ticks if tick.processors]
    if len(looks) < 2:
        return None
    first, last = _idle(looks[0]), _idle(looks[-1])
    spare = {cpu: idle - first.get(cpu, idle) for cpu, idle in last.items()}
    return max(spare, key=lambda cpu: spare[cpu], default=None)


def _idle(tick: Tick) -> dict[int, int]:
    """Time in which each processor had nothing to do, in ticks of its clock."""
    lines = [line.split() for line in tick.processors.splitlines()]
    return {
        int(line[0][3:]): int(line[_IDLE])
        for line in lines
        if len(line) > _IDLE and line[0].startswith(b"cpu") and line[0] != b"cpu"
    }
