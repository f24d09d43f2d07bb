"""A time as the monitor saw it: ticks of the machine and samples of a worker, ten a second."""

from __future__ import annotations

from dataclasses import dataclass

from capd.daemon.history import Process, Tick
from capd.latency import CLASSES
from capd.messages import Counters, Report, Sample
from capd.units import SECOND

STEP = SECOND // 10
NOON = 1_763_985_600 * SECOND


@dataclass
class Moment:
    """How a worker and its machine are in one step."""

    state: str = "S"  # "": there is no worker
    run: float = 0.1  # shares of the step
    wait: float = 0.0
    pressure: float = 0.0
    squeezed: int = 0
    backlog: int = 0  # packets that the queue of processor 1 drops
    lost: int = 0  # at the ring
    slowest: float = 0.001  # seconds
    writing: float = 0.05  # share
    refused: bool = False
    sampled: bool = True  # whether the worker could take a sample
    missed: int = 0  # at the NIC


def ticks(moments: list[Moment]) -> list[Tick]:
    """One more than there are moments: the first is before them."""
    found, run, wait, stall, squeezed, backlog, missed = [], 0, 0, 0, 0, 0, 0
    for number, one in enumerate([Moment(), *moments]):
        if number:
            run += int(one.run * STEP)
            wait += int(one.wait * STEP)
            stall += int(one.pressure * STEP) // 1000
            squeezed, backlog = squeezed + one.squeezed, backlog + one.backlog
            missed += one.missed
        process = Process(f"{run} {wait} 7".encode(), f"9 (capd) {one.state} 0".encode())
        softnet = "\n".join(
            " ".join(f"{value:08x}" for value in [number, drops, squeezed, *[0] * 9, cpu])
            for cpu, drops in ((0, 0), (1, backlog))
        )
        machine = {
            "softnet": softnet.encode(),
            "cpu": f"some avg10=0.00 avg60=0.00 avg300=0.00 total={stall}\n".encode(),
            "io": b"",
        }
        workers = {"v0": process} if one.state else {}
        stat = f"cpu 1 1 1 1\ncpu0 1 0 0 {number} 0\ncpu1 1 0 0 {9 * number} 0\nintr 5\n".encode()
        nics: dict[str, tuple[int | None, int | None]] = {"v0": (number, missed)}
        found.append(Tick(NOON + number * STEP, machine, workers, nics, stat))
    return found


def reports(moments: list[Moment]) -> list[Report]:
    """What its worker would say of that time."""
    samples, lost = [], 0
    for number, one in enumerate([Moment(), *moments]):
        lost += one.lost
        if one.sampled:
            at = NOON + number * STEP
            sample = Sample(
                *(at, 3, 10 * number, lost, 0, 2, int(one.slowest * SECOND)),
                writing=int(one.writing * STEP),
                refused=one.refused,
            )
            samples.append(sample)

    return [
        Report(1, Counters(dropped=lost), 1, 0, 0.1, writes=(1,) * CLASSES, samples=tuple(samples))
    ]
