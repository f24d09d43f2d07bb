"""What the workers of one ring have measured of their work: it adds up, over all of them.

The newest samples are kept, so that a loss can be explained when it is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from capd.latency import CLASSES, quantile
from capd.messages import Report, Sample
from capd.units import SECOND

KEPT = 1000  # samples, ten a second: longer than a loss waits to be told
RECENT = 60  # reports, one a second
LATE = SECOND // 10  # ns: a write that takes so long is the disk's doing
LIMIT = 4 / 5  # share of the time in writes, from which the disk is what limits


class Recent(NamedTuple):
    """The last minute."""

    high_water: float = 0.0  # the largest share of the ring's blocks that waited
    p50: int | None = None  # ns of a write
    p99: int | None = None
    slowest: int | None = None


class Span(NamedTuple):
    """A sample and the one before it."""

    before: Sample
    sample: Sample

    @property
    def length(self) -> int:
        """ns."""
        return max(1, self.sample.at - self.before.at)

    @property
    def late(self) -> bool:
        """Whether the writer was late: the disk took nothing, or too little."""
        one = self.sample
        return one.refused or one.slowest >= LATE or one.writing >= LIMIT * self.length


class Gauge:
    """One ring's."""

    def __init__(self, blocks: int) -> None:
        self.refusal = ""  # why the disk took nothing, when it last did
        self.late = 0  # packets that the ring dropped while the writer was late
        self.writes = [0] * CLASSES  # by the time that they took, all in all
        self._blocks = blocks
        self._of_worker = [0] * CLASSES
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._minute: deque[tuple[list[int], int, int]] = deque(maxlen=RECENT)

    def restart(self) -> None:
        """Another worker reports from now on."""
        self._of_worker = [0] * CLASSES

    def feed(self, report: Report) -> None:
        """What a worker reports."""
        self.refusal = report.refusal or self.refusal
        if report.writes:
            fresh = [now - then for now, then in zip(report.writes, self._of_worker, strict=True)]
            self.writes = [old + new for old, new in zip(self.writes, fresh, strict=True)]
            self._of_worker = list(report.writes)
            slowest = max((one.slowest for one in report.samples), default=0)
            waiting = max((one.waiting for one in report.samples), default=0)
            self._minute.append((fresh, slowest, waiting))
        for sample in report.samples:
            if self._samples:
                span = Span(self._samples[-1], sample)
                self.late += max(0, sample.dropped - span.before.dropped) if span.late else 0
            self._samples.append(sample)

    def spans(self, since: int, until: int) -> Iterator[Span]:
        """All that touch [since, until] (ns since 1970), in order."""
        for before, sample in pairwise(self._samples):
            if sample.at > since and before.at < until:
                yield Span(before, sample)

    @property
    def recent(self) -> Recent:
        """The last minute."""
        if not self._minute:
            return Recent()
        by_class = [sum(column) for column in zip(*(one[0] for one in self._minute), strict=True)]
        slowest = max(one[1] for one in self._minute)
        return Recent(
            max(one[2] for one in self._minute) / self._blocks,
            quantile(by_class, 0.5, slowest),
            quantile(by_class, 0.99, slowest),
            slowest if any(by_class) else None,
        )
