"""What `capd metrics` makes of a status: every number once, by its stage, and nothing unknown."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from capd import status as statuses
from capd.latency import BOUNDS, CLASSES
from capd.messages import Counters
from capd.metrics.collector import StatusCollector
from capd.metrics.rings import by_name
from capd.status import BacklogStatus, DiskStatus, HoldsStatus, NicStatus
from capd.units import SECOND
from tests.support.scrape import Samples, sample, samples
from tests.support.whole import CPU, EMPTY, FULL, RING, WHO, of

# Not numbers of their own: rates and quantiles are left to the reader, the rest is for people.
NOT_SERVED = {
    "RingStatus": {
        *("worker", "filter_since", "packets_per_second", "bits_per_second"),
        *("write_p50", "write_p99", "segment", "flush_interval", "reported_at"),
    },
    "NicStatus": {"includes", "note"},
    "HoldsStatus": {"troubles"},  # how many there are is
    "Loss": {"since", "until", "cause", "at_most", "change", "samples"},
    "Status": {"pid", "config", "written_at", "losses", "untold", "format"},
}


def other(value: Any) -> Any:
    """Something else of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}2"
    if isinstance(value, list):
        return [other(one) for one in value]
    if isinstance(value, Counters):
        return Counters(*map(other, value))
    return {f"{key}2": one for key, one in value.items()}


def variants(value: Any) -> Iterator[tuple[str, Any]]:
    """Each field of a dataclass, and of those in it, and the value with only that one changed."""
    kind = type(value).__name__
    for field in fields(value):
        inside = getattr(value, field.name)
        if field.name in NOT_SERVED.get(kind, ()):
            continue
        if inside is None:
            yield f"{kind}.{field.name}", replace(value, **{field.name: "bad"})
        elif is_dataclass(inside) or (isinstance(inside, list) and is_dataclass(inside[0])):
            first = inside[0] if isinstance(inside, list) else inside
            for name, changed in variants(first):
                put = [changed] if isinstance(inside, list) else changed
                yield name, replace(value, **{field.name: put})
        elif isinstance(inside, Counters):
            for name in inside._fields:
                changed = inside._replace(**{name: 1000})
                yield f"Counters.{name}", replace(value, **{field.name: changed})
        else:
            yield f"{kind}.{field.name}", replace(value, **{field.name: other(inside)})


def test_every_number_of_the_status_is_served() -> None:
    """One that is added to the status is forgotten here by nobody."""
    whole = of(FULL)
    changed = list(variants(FULL))
    assert len(changed) > 70
    assert [name for name, status in changed if of(status) == whole] == []


def test_where_packets_went() -> None:
    found = of(FULL)
    values = {
        "received_packets_total": 11,
        "ring_dropped_packets_total": 12,
        "ring_freezes_total": 13,
        "written_packets_total": 14,
        "disk_lost_packets_total": 15,
        "malformed_packets_total": 16,
        "overlap_packets_total": 17,
        "clamped_packets_total": 18,
        "written_bytes_total": 19,
        "finished_segments_total": 20,
        "disk_refused_bytes_total": 21,
        "ring_late_dropped_packets_total": 9,
        "ring_high_water_ratio": 0.75,
        "write_longest_seconds": 3,
        "worker_pause_seconds": 0.12,
        "ring_created_timestamp_seconds": 5,
        "link_up": 1,
        "worker_running": 1,
    }
    for name, value in values.items():
        assert sample(found, f"capd_{name}", **WHO) == value, name
    assert sample(found, "capd_nic_lost_packets_total", interface="v0") == 5
    assert sample(found, "capd_backlog_dropped_packets_total") == 70
    assert sample(found, "capd_backlog_cpu_dropped_packets_total", cpu="1") == 32
    statistics = {dict(key[1])["statistic"] for key in found if key[0].startswith("capd_nic_stat")}
    assert statistics == {"rx_packets", "ethtool:rx_no_dma"}
    place = {"place": "archive", "directory": "/d"}
    assert sample(found, "capd_storage_oldest_timestamp_seconds", **place) == 43
    assert sample(found, "capd_ring_info", **WHO, filter=RING.filter, directory="/c") == 1
    assert sample(found, "capd_interface_refused", interface="x0") == 1
    assert sample(found, "capd_interface_refused", interface="v0") == 0
    assert sample(found, "capd_holds_unclear") == 1
    assert sample(found, "capd_hook_waiting_segments") == 91
    assert sample(found, "capd_hook_missed_segments_total") == 96
    assert sample(found, "capd_entry_waiting", entry="w*") == 1


@pytest.mark.fault(53)
def test_what_is_not_known_has_no_sample() -> None:
    """0 would be a claim."""
    unknown = replace(
        FULL,
        rings=[replace(RING, segment=None, last_pause_ms=None, write_max=None, writes=[1, 2])],
        nics=[NicStatus("v0", None, None, {"rx_dropped": None})],
        backlog=BacklogStatus(None, [replace(CPU, cpu=None)]),
        disk=DiskStatus("/c", 0, 0),
        second_disk=None,
        archive=None,
        holds=HoldsStatus(0),
    )
    names = {name for name, _ in of(FULL)} - {name for name, _ in of(unknown)}
    expected = {
        *("segment_bytes", "worker_pause_seconds", "write_longest_seconds"),
        *("write_duration_seconds_bucket", "nic_lost_packets_total", "nic_statistic_total"),
        *("nic_info", "backlog_dropped_packets_total", "storage_size_bytes", "storage_free_bytes"),
        *("storage_oldest_timestamp_seconds", "storage_reach_seconds", "storage_max_age_seconds"),
        "hold_next_expiry_timestamp_seconds",
    }
    rest = {name for name in names if not re.match("capd_(archive|backlog_cpu)_", name)}
    assert rest == {f"capd_{name}" for name in expected}
    assert not [name for name, _ in of(unknown) if re.match("capd_(archive|backlog)_", name)]
    begun = {name for name, _ in of(EMPTY)}
    assert begun == {"capd_start_timestamp_seconds", "capd_config_ok", "capd_build_info"} | {
        "capd_state"
    }


def test_writes_are_a_histogram() -> None:
    found = of(FULL)
    buckets = {
        dict(labels)["le"]: count
        for (name, labels), count in found.items()
        if name == "capd_write_duration_seconds_bucket"
    }
    assert [float(bound) for bound in buckets] == [*(one / 1e9 for one in BOUNDS), float("inf")]
    counts = list(buckets.values())
    assert [after - before for before, after in zip([0.0, *counts], counts, strict=False)] == (
        RING.writes
    )
    assert not [name for name, _ in found if name.endswith(("seconds_sum", "seconds_count"))]


def test_two_rings_of_a_name_are_one() -> None:
    """While one replaces the other: no series twice, no loss hidden."""
    newer = replace(
        RING,
        since=RING.since + 1,
        phase="starting",
        filled=0.9,
        counters=Counters(received=100, dropped=3),
        writes=[1] * CLASSES,
        ring_bytes=1,
    )
    third = replace(RING, ring="v1", interface="v1")
    both, alone = by_name([newer, RING, third])
    assert by_name([RING, newer, third]) == [both, alone]
    assert alone == third
    assert both.counters == Counters(111, 15, 13, 14, 15, 16, 17, 18, 19, 20, 21)
    assert (both.since, both.phase, both.filled) == (newer.since, "starting", 0.9)
    found = of(replace(FULL, rings=[RING, newer]))
    assert sample(found, "capd_received_packets_total", **WHO) == 111
    assert sample(found, "capd_ring_dropped_packets_total", **WHO) == 15
    assert sample(found, "capd_ring_size_bytes", **WHO) == 2**28 + 1
    last = sample(found, "capd_write_duration_seconds_bucket", **WHO, le="+Inf")
    assert last == sum(RING.writes) + CLASSES


def scrape(path: Path) -> Samples:
    registry = CollectorRegistry()
    registry.register(StatusCollector(str(path)))
    return samples(generate_latest(registry).decode())


def test_a_full_disk_below_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is no reason to say nothing of it to those who ask."""
    full = Path("/dev/full").open("w")  # noqa: SIM115  what it has not written fails once more
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", full)
        assert scrape(tmp_path / "none") == {("capd_up", frozenset()): 0.0}
    with pytest.raises(OSError, match="No space left"):
        full.close()


def test_a_status_that_nobody_renews_is_not_healthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing goes on as if it were now; the log says why, once."""
    path, now = tmp_path / "status.json", time.time_ns()
    assert scrape(path) == {("capd_up", frozenset()): 0}
    statuses.write(str(path), replace(FULL, written_at=now))
    assert scrape(path) == of(FULL) | {
        ("capd_up", frozenset()): 1,
        ("capd_status_written_timestamp_seconds", frozenset()): now / 1e9,
    }
    old = now - 60 * SECOND
    statuses.write(str(path), replace(FULL, written_at=old))
    stale = {
        ("capd_up", frozenset[tuple[str, str]]()): 0,
        ("capd_status_written_timestamp_seconds", frozenset[tuple[str, str]]()): old / 1e9,
    }
    capsys.readouterr()
    registry = CollectorRegistry()
    registry.register(StatusCollector(str(path)))
    for _ in range(2):
        assert samples(generate_latest(registry).decode()) == stale
    assert capsys.readouterr().err.count("capd has written no status since") == 1
    path.write_text("{")
    assert scrape(path) == {("capd_up", frozenset()): 0}
