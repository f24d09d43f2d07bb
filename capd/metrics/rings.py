"""The metrics of a ring: where its packets went, how full it was, how its worker and writes fare.

Two rings have the same name for a moment while one replaces the other.  Their counts are added up
then, so that no loss is hidden and no series twice there; when the old one has gone Prometheus
sees its counters start again, as after any restart.  What does not add up is the newer ring's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from capd.latency import BOUNDS, CLASSES
from capd.messages import Counters
from capd.metrics.series import PREFIX, Series, Subject, families, seconds
from capd.status import RingStatus

LABELS = ("interface", "ring")

SERIES: tuple[Series[RingStatus], ...] = (
    Series(
        "received_packets_total",
        "Packets that the kernel accepted for the ring, since the ring was made: all that were "
        "written, and those dropped by the ring, refused by the disk, malformed or in overlap.",
        lambda ring: ring.counters.received,
    ),
    Series(
        "written_packets_total",
        "Packets that are in a segment.",
        lambda ring: ring.counters.written,
    ),
    Series("written_bytes_total", "Bytes of pcapng in segments.", lambda ring: ring.counters.bytes),
    Series(
        "finished_segments_total",
        "Segments that have their final name.",
        lambda ring: ring.counters.files,
    ),
    Series(
        "ring_dropped_packets_total",
        "Lost at the stage ring: packets that found it full (tp_drops).",
        lambda ring: ring.counters.dropped,
    ),
    Series(
        "ring_late_dropped_packets_total",
        "Of capd_ring_dropped_packets_total, those dropped while the disk was late with what "
        "was written, and not the worker. Contained in it: never add the two.",
        lambda ring: ring.late,
    ),
    Series(
        "ring_freezes_total",
        "Times that the ring was full (tp_freeze_q_cnt): events, not packets.",
        lambda ring: ring.counters.freezes,
    ),
    Series(
        "disk_lost_packets_total",
        "Lost at the stage disk: packets that were in the ring and that the disk did not take.",
        lambda ring: ring.counters.disk,
    ),
    Series(
        "disk_refused_bytes_total",
        "Bytes in the ring's blocks that were given up because of the disk; they held the packets "
        "of capd_disk_lost_packets_total.",
        lambda ring: ring.counters.refused,
    ),
    Series(
        "malformed_packets_total",
        "Lost at the stage capd: packets that a block of the ring announced and did not hold.",
        lambda ring: ring.counters.malformed,
    ),
    Series(
        "clamped_packets_total",
        "Of capd_written_packets_total, those cut short because no block could hold them whole.",
        lambda ring: ring.counters.clamped,
    ),
    Series(
        "overlap_packets_total",
        "Packets that another ring has written, while one replaced the other: not lost.",
        lambda ring: ring.counters.overlap,
    ),
    Series("ring_size_bytes", "Memory of the ring.", lambda ring: ring.ring_bytes),
    Series(
        "ring_filled_ratio",
        "Share of the ring's blocks that waits to be written.",
        lambda ring: ring.filled,
    ),
    Series(
        "ring_high_water_ratio",
        "The largest share of the ring's blocks that waited, in the last minute.",
        lambda ring: ring.high_water,
    ),
    Series(
        "ring_created_timestamp_seconds",
        "When the ring was made; its counters start there.",
        lambda ring: seconds(ring.since),
    ),
    Series(
        "segment_bytes",
        "Bytes in the segment that is being written; none while the disk takes nothing.",
        lambda ring: None if ring.segment is None else ring.segment_bytes,
    ),
    Series(
        "write_longest_seconds",
        "How long the longest write of the last minute took; none if nothing was written.",
        lambda ring: seconds(ring.write_max),
    ),
    Series(
        "link_up",
        "1 while packets can come: the interface is there and up; else 0.",
        lambda ring: float(ring.link == "up"),
    ),
    Series(
        "worker_running",
        "1 while a worker drains the ring; 0 while there is none, or none that makes progress.",
        lambda ring: float(ring.phase == "running"),
    ),
    Series(
        "worker_deaths",
        "Workers in a row that did not live long.",
        lambda ring: ring.deaths,
    ),
    Series(
        "worker_pause_seconds",
        "Between the last block of the worker before and the first of this one.",
        lambda ring: None if ring.last_pause_ms is None else ring.last_pause_ms / 1e3,
    ),
)


def collect(rings: Iterable[RingStatus]) -> Iterator[Metric]:
    """The metrics of all rings."""
    whole = by_name(rings)
    yield from families(
        SERIES, LABELS, [Subject((ring.interface, ring.ring), ring) for ring in whole]
    )
    yield _writes(whole)
    yield _phases(whole)
    yield _about(whole)


def by_name(rings: Iterable[RingStatus]) -> list[RingStatus]:
    """One for each name; two of the same are put together as the module says."""
    found: dict[str, RingStatus] = {}
    for ring in sorted(rings, key=lambda one: one.since):
        older = found.get(ring.ring)
        found[ring.ring] = ring if older is None else _together(older, ring)
    return list(found.values())


def _together(older: RingStatus, newer: RingStatus) -> RingStatus:
    counters = map(sum, zip(older.counters, newer.counters, strict=True))
    return replace(
        newer,
        counters=Counters(*counters),
        late=older.late + newer.late,
        writes=[sum(both) for both in zip_longest(older.writes, newer.writes, fillvalue=0)],
        ring_bytes=older.ring_bytes + newer.ring_bytes,
        filled=max(older.filled, newer.filled),
        high_water=max(older.high_water, newer.high_water),
    )


def _writes(rings: Iterable[RingStatus]) -> Metric:
    """Without `_sum`, as nobody adds the times up, and hence without `_count`: OpenMetrics 1.0.

    The last bucket is the count.
    """
    family = HistogramMetricFamily(
        f"{PREFIX}write_duration_seconds",
        "How long writes of packets to the disk took.",
        labels=LABELS,
    )
    bounds = [*(str(bound / 1e9) for bound in BOUNDS), "+Inf"]
    for ring in rings:
        if len(ring.writes) != CLASSES:  # another version's: with which bounds nobody knows
            continue
        counts = [sum(ring.writes[: end + 1]) for end in range(CLASSES)]
        buckets = list(zip(bounds, map(float, counts), strict=True))
        family.add_metric((ring.interface, ring.ring), buckets, None)
    return family


def _phases(rings: Iterable[RingStatus]) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}worker_phase",
        "1 for the phase in which the life of the ring's worker is.",
        labels=(*LABELS, "phase"),
    )
    for ring in rings:
        family.add_metric((ring.interface, ring.ring, ring.phase), 1)
    return family


def _about(rings: Iterable[RingStatus]) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}ring_info",
        "What is captured, and where it goes; always 1.",
        labels=(*LABELS, "filter", "directory"),
    )
    for ring in rings:
        family.add_metric((ring.interface, ring.ring, ring.filter, ring.directory), 1)
    return family
