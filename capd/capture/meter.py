"""What a worker measures of its own work: how long writes take, and how full the ring becomes.

Ten times a second, if there is work, it takes a sample: fine enough to see afterwards what a loss
came of.  What it comes to is for the daemon to say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from capd.capture.blocks import Blocks
from capd.latency import CLASSES, class_of
from capd.messages import Counters, Sample
from capd.units import SECOND

SAMPLE_EVERY = SECOND // 10  # ns
LOOK_EVERY = SECOND // 100  # ns between two looks at how many blocks wait: each costs some


class Meter:
    """One worker's; what it gives away it forgets."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._by_class = [0] * CLASSES
        self._writes = 0
        self._slowest = self._writing = 0  # ns
        self._waiting = 0
        self._looked_at = 0  # monotonic ns, like the next
        self._sampled_at = 0
        self._samples: list[Sample] = []

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A write, whatever comes of it."""
        began = time.monotonic_ns()
        try:
            yield
        finally:
            took = time.monotonic_ns() - began
            self._by_class[class_of(took)] += 1
            self._writes += 1
            self._slowest = max(self._slowest, took)
            self._writing += took

    def look(self) -> bool:
        """Look between two blocks; whether it is time for a sample."""
        now = time.monotonic_ns()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            self._waiting = max(self._waiting, self._blocks.waiting())
        return now - self._sampled_at >= SAMPLE_EVERY

    def take(self, counters: Counters, *, refused: bool) -> None:
        """Take a sample of the time since the one before; the counters are those of now."""
        self._sampled_at = time.monotonic_ns()
        self._waiting = max(self._waiting, self._blocks.waiting())
        sample = Sample(
            at=time.time_ns(),
            waiting=self._waiting,
            written=counters.written,
            dropped=counters.dropped,
            disk=counters.disk,
            writes=self._writes,
            slowest=self._slowest,
            writing=self._writing,
            refused=refused,
        )
        self._samples.append(sample)
        self._waiting = self._writes = self._slowest = self._writing = 0

    def writes(self) -> tuple[int, ...]:
        """All writes by the time that they took."""
        return tuple(self._by_class)

    def samples(self) -> tuple[Sample, ...]:
        """Those taken since this was called last."""
        taken, self._samples = tuple(self._samples), []
        return taken
