"""A status with every field filled in, and what `capd metrics` makes of a status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from capd.latency import CLASSES
from capd.losses import Loss
from capd.messages import Counters
from capd.metrics.collector import metrics
from capd.status import (
    ArchiveStatus,
    BacklogStatus,
    CpuBacklog,
    DiskStatus,
    HoldsStatus,
    HookStatus,
    NicStatus,
    RingStatus,
    Status,
)
from capd.units import SECOND
from tests.support.scrape import Samples, samples

WHO = {"interface": "v0", "ring": "v0"}
RING = RingStatus(
    "v0", "v0", "up", "running", 7, 'host "a"\\\n', 1, "/c", 2**28, 0.25, 3, 4096, 5 * SECOND, 2,
    120, 1.2e6, 6.9e9, Counters(11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21), 0.75, 9,
    list(range(CLASSES)), 10**6, 2 * 10**6, 3 * 10**9,
)  # fmt: skip
NIC = NicStatus(
    "v0", "igb", 5, {"rx_dropped": None, "rx_packets": 77, "ethtool:rx_no_dma": 8},
    {"rx_dropped": ["backlog"]}, "a note",
)  # fmt: skip
CPU = CpuBacklog(1, 31, 32, 33, 34, 35)
DISK = DiskStatus("/c", 1000, 390, 41, 42, 43 * SECOND, 44, 45 * SECOND, 46 * SECOND)
ARCHIVE = ArchiveStatus(51, 52, 53, 54, 55, 56, 57, True, 3, 58, 59, 60, 61)
FULL = Status(
    "0.1.0", 1, "/etc/capd.toml", 3 * SECOND, 4 * SECOND, "running", None, [RING],
    {"w*": "there is no such interface"}, {"x0": "no"}, [], DISK, ARCHIVE,
    replace(DISK, directory="/d"), [NIC], BacklogStatus(70, [CPU]),
    [Loss("v0", "ring", 1, 2, 71, "full")], HoldsStatus(81, 82, 83, 84 * SECOND, ["no hold"]),
    HookStatus(91, 92, 93, 94, 95, 96, failing=False), {"y0": 97 * SECOND},
)  # fmt: skip
EMPTY = Status("0.1.0", 1, "/etc/capd.toml", 3 * SECOND, 4 * SECOND, "starting", None)


class _Fixed(Collector):
    """A collector of this status, whatever its age."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        return metrics(self._status)


def text_of(status: Status) -> str:
    """As it is served."""
    registry = CollectorRegistry()
    registry.register(_Fixed(status))
    return generate_latest(registry).decode()


def of(status: Status) -> Samples:
    """The same, taken apart."""
    return samples(text_of(status))
