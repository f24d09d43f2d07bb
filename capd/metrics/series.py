"""One metric: its name, what its HELP says, and where in the status its value is.

Names by Prometheus's conventions (prometheus.io/docs/practices/naming): base units, `_total` for
what only grows.  Stages of loss are metrics of their own, not a label of one, as a sum over a
label must mean something, and over stages it does not.

What is not known has no sample: 0 would be a claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

T = TypeVar("T")

PREFIX = "capd_"
_TOTAL = "_total"


@dataclass(frozen=True)
class Series(Generic[T]):
    """One metric of each subject, which is a ring, a directory or the like."""

    name: str  # without PREFIX; it is a counter if it ends in _total, else a gauge
    text: str  # HELP
    read: Callable[[T], float | None]  # None: not known


@dataclass(frozen=True)
class Subject(Generic[T]):
    """What is measured, and the labels' values that tell it from others."""

    labels: tuple[str, ...]
    value: T


def families(
    series: Iterable[Series[T]], names: tuple[str, ...], subjects: Iterable[Subject[T]]
) -> Iterator[Metric]:
    """The metrics of these subjects; `names`: of their labels."""
    subjects = tuple(subjects)
    for one in series:
        family = family_of(one.name, one.text, names)
        for subject in subjects:
            value = one.read(subject.value)
            if value is not None:
                family.add_metric(subject.labels, value)
        yield family


def family_of(
    name: str, text: str, names: tuple[str, ...] = ()
) -> CounterMetricFamily | GaugeMetricFamily:
    """An empty one; `names`: of its labels."""
    kind = CounterMetricFamily if name.endswith(_TOTAL) else GaugeMetricFamily
    return kind(f"{PREFIX}{name}", text, labels=names)


def seconds(nanoseconds: int | None) -> float | None:
    """Prometheus's unit of time, and of timestamps."""
    return None if nanoseconds is None else nanoseconds / 1e9
