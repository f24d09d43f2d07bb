"""All metrics, read from the status file at each scrape.

A status that is not renewed says nothing of now: then `capd_up` is 0 and everything else is left
out, so that no graph goes on as if nothing had happened.  The records of losses are not here: they
have causes and spans, and only the newest are in the status (`capd status --json`).
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from capd.errors import StorageError
from capd.metrics import disks, outside, rings
from capd.metrics.series import PREFIX, Series, Subject, families, seconds
from capd.status import Status, read, staleness

STATES = ("starting", "running", "reloading", "stopping")

DAEMON: tuple[Series[Status], ...] = (
    Series(
        "start_timestamp_seconds",
        "When the daemon started; rings can be older.",
        lambda status: seconds(status.started_at),
    ),
    Series(
        "config_ok",
        "1 while the config file is in force; 0 when it is bad, and the one before is.",
        lambda status: float(status.trouble is None),
    ),
)


def log(text: str) -> None:
    """To standard error, which may be on the full disk that somebody is to hear of by metrics."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class StatusCollector(Collector):
    """The metrics of the daemon whose status file this is."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._told: str | None = None

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is depends on the daemon, and registering must not wait for it."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        status, trouble = None, None
        try:
            status = read(self._path)
            trouble = staleness(status, time.time_ns())
        except StorageError as error:
            trouble = str(error)
        self._tell(trouble)
        yield GaugeMetricFamily(
            f"{PREFIX}up",
            "1 while the daemon renews its status; if it is 0 nothing else is told.",
            value=float(trouble is None),
        )
        if status is not None:
            yield GaugeMetricFamily(
                f"{PREFIX}status_written_timestamp_seconds",
                "When the daemon wrote its status last.",
                value=status.written_at / 1e9,
            )
        if status is not None and trouble is None:
            yield from metrics(status)

    def _tell(self, trouble: str | None) -> None:
        """Say in the log why there is nothing to tell, once."""
        if trouble is not None and self._told is None:
            log(trouble)
        self._told = trouble


def metrics(status: Status) -> Iterator[Metric]:
    """Everything that a fresh status tells."""
    yield from families(DAEMON, (), [Subject((), status)])
    yield _labelled(
        "build_info", "The daemon's version; always 1.", "version", {status.version: 1.0}
    )
    yield _labelled(
        "state",
        "1 for what the daemon does, 0 for what it could do else.",
        "state",
        {state: float(state == status.state) for state in (*STATES, status.state)},
    )
    yield _labelled(
        "entry_waiting",
        "1 for an entry of the config that no interface of this machine fits yet.",
        "entry",
        dict.fromkeys(status.waiting, 1.0),
    )
    captured = {ring.interface: 0.0 for ring in status.rings}
    yield _labelled(
        "interface_refused",
        "1 for an interface that is to be captured and cannot be, 0 for one that is.",
        "interface",
        captured | dict.fromkeys(status.refused, 1.0),
    )
    yield _labelled(
        "interface_out_since_timestamp_seconds",
        "Since when an interface that was captured gives no packets, as it is down or gone.",
        "interface",
        {interface: since / 1e9 for interface, since in status.out.items()},
    )
    yield _alerts(status)
    yield from outside.collect(status.nics, status.backlog)
    yield from rings.collect(status.rings)
    yield from disks.collect(status)


def _alerts(status: Status) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}alert_packets",
        "Lost since an alert of [alert] was raised that is not over; absent where there is none. "
        "The interface is empty where it may be any.",
        labels=("interface", "stage"),
    )
    for loss in status.alerts:
        if loss.packets is not None:
            family.add_metric((loss.interface, loss.stage), loss.packets)
    return family


def _labelled(name: str, text: str, label: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family
