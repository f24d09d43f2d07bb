"""The metrics of what comes before the rings: interfaces with their drivers, and the backlog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from capd.metrics.series import PREFIX, Series, Subject, families
from capd.status import BacklogStatus, CpuBacklog, NicStatus

NICS: tuple[Series[NicStatus], ...] = (
    Series(
        "nic_lost_packets_total",
        "Lost at the stage nic: packets that the interface had no room for, since the daemon "
        "watches it. None where the driver does not tell.",
        lambda nic: nic.lost,
    ),
    Series(
        "nic_lost_is_upper_bound",
        "1 where the driver counts other things among capd_nic_lost_packets_total, 0 where not.",
        lambda nic: float(nic.at_most),
    ),
)

BACKLOG: tuple[Series[BacklogStatus], ...] = (
    Series(
        "backlog_dropped_packets_total",
        "Lost at the stage backlog: packets that found a processor's queue full, since the daemon "
        "watches. Of the whole machine: whose they were nobody counts. The statistic rx_dropped "
        "of an interface contains its own: never add the two.",
        lambda backlog: backlog.dropped,
    ),
)

CPUS: tuple[Series[CpuBacklog], ...] = (
    Series(
        "backlog_cpu_processed_packets_total",
        "Packets that this processor has taken from interfaces and its queue, since the daemon "
        "watches, like the following.",
        lambda row: row.processed,
    ),
    Series(
        "backlog_cpu_dropped_packets_total",
        "Packets that found this processor's queue full; contained in "
        "capd_backlog_dropped_packets_total: never add the two.",
        lambda row: row.dropped,
    ),
    Series(
        "backlog_cpu_squeezes_total",
        "Times that this processor had to leave packets for later: a hint, no loss.",
        lambda row: row.squeezed,
    ),
    Series(
        "backlog_cpu_rps_wakeups_total",
        "Times that another processor had this one take packets (RPS).",
        lambda row: row.received_rps,
    ),
    Series(
        "backlog_cpu_flow_limited_packets_total",
        "Packets of flows that had too large a share of this processor's queue; contained in what "
        "it dropped.",
        lambda row: row.flow_limited,
    ),
)


def collect(nics: Iterable[NicStatus], backlog: BacklogStatus | None) -> Iterator[Metric]:
    """The metrics of captured interfaces, and of the machine."""
    nics = tuple(nics)
    yield from families(NICS, ("interface",), [Subject((nic.interface,), nic) for nic in nics])
    yield _statistics(nics)
    yield _drivers(nics)
    yield from families(BACKLOG, (), [] if backlog is None else [Subject((), backlog)])
    rows = [] if backlog is None else backlog.cpus
    # an old kernel does not say which processor's a row is
    numbered = [Subject((str(row.cpu),), row) for row in rows if row.cpu is not None]
    yield from families(CPUS, ("cpu",), numbered)


def _statistics(nics: Iterable[NicStatus]) -> Metric:
    family = CounterMetricFamily(
        f"{PREFIX}nic_statistic_total",
        "What the kernel and the driver count, each by its own name and in its own unit, since "
        "the daemon watches the interface; `ethtool:` is before the driver's own. They contain "
        "each other (capd status --json: includes): never add them.",
        labels=("interface", "statistic"),
    )
    for nic in nics:
        for name, count in nic.counters.items():
            if count is not None:
                family.add_metric((nic.interface, name), count)
    return family


def _drivers(nics: Iterable[NicStatus]) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}nic_info",
        "The driver of an interface; always 1.",
        labels=("interface", "driver"),
    )
    for nic in nics:
        if nic.driver is not None:
            family.add_metric((nic.interface, nic.driver), 1)
    return family
