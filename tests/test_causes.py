"""Why packets were lost: from what was seen to the words, and the one thing to change."""

from __future__ import annotations

import dataclasses
import re

import pytest

from capd.daemon import causes, evidence, excerpt
from capd.daemon.causes import RingFacts
from capd.daemon.evidence import Evidence
from capd.daemon.gauge import Gauge
from capd.units import SECOND
from tests.support.minutes import NOON, STEP, Moment, reports, ticks

MIB = 2**20
FACTS = RingFacts(64 * MIB, 700, 16 * 2**30, "/data", "No space left on device")
BUSY = Moment(run=0.6, lost=100)


def cause(moments: list[Moment], lost: int = 1000) -> causes.Cause:
    """Of a ring that lost packets in these tenths of a second."""
    gauge = Gauge(16)
    for report in reports(moments):
        gauge.feed(report)
    spans = [
        span
        for span in gauge.spans(NOON, NOON + len(moments) * STEP)
        if span.sample.dropped > span.before.dropped
    ]
    begin, end = spans[0].before.at, spans[-1].sample.at
    seen = [tick for tick in ticks(moments) if begin <= tick.at <= end]
    facts = FACTS._replace(idlest=evidence.idlest(ticks(moments)))
    return causes.ring(lost, facts, evidence.of_ring("v0", spans, seen))


def times(count: int, **fields: object) -> list[Moment]:
    """The same moment again and again."""
    return [dataclasses.replace(BUSY, **fields)] * count  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("moments", "text", "change"),
    [
        (
            [*times(9, state="T", sampled=False, lost=0, run=0), BUSY],
            r"while its worker was stopped \(SIGSTOP\), for about 1.0 s",
            r'ring_size = "\d+MiB"',
        ),
        (
            [*times(9, state="", sampled=False, lost=0), BUSY],
            "while no worker drained it, for about 1.0 s",
            r'ring_size = "\d+MiB"',
        ),
        (
            times(5, slowest=0.09, writing=0.95, state="D"),
            "while the disk was late: 95% of the time went into writes$",
            "a faster disk for /data, or snaplen",
        ),
        (
            [*times(9, state="D", sampled=False, lost=0), dataclasses.replace(BUSY, slowest=0.9)],
            "while the disk was late: .* of the time went into writes, 900 ms into one",
            r'ring_size = "\d+MiB"',
        ),
        (
            times(5, refused=True),
            "while the disk took nothing: No space left",
            "look at the disk of",
        ),
        (
            times(5, wait=0.7, run=0.3, pressure=0.8),
            r"its worker waited for a processor 70% of the time \(PSI: 80%\)",
            r"cpus = \[1\]",
        ),
        (times(5, run=0.97), "had a whole processor and was not fast enough", "filter, or snaplen"),
        (times(2), "more came at once than it holds", r'ring_size = "\d+MiB"'),
    ],
)
def test_cause_of_a_full_ring(moments: list[Moment], text: str, change: str) -> None:
    """By what was seen meanwhile."""
    found = cause([*times(10, lost=0), *moments, *times(10, lost=0)])
    assert re.search(f"its ring of 64 MiB was full:? .*{text}|{text}", found.text), found
    assert re.search(change, found.change), found


def test_only_the_time_of_the_loss_counts() -> None:
    """A disk that was late before and after explains nothing."""
    late = times(10, lost=0, slowest=0.5, state="D")
    assert "more came at once" in cause([*late, *times(2), *late]).text


def test_nobody_looked() -> None:
    """A loss from before this daemon."""
    found = causes.ring(5, FACTS, Evidence())
    assert found.text == "its ring of 64 MiB was full while capd did not run, or was starting"


@pytest.mark.parametrize(
    ("lost", "change"),
    [
        (1, 'ring_size = "128MiB"'),
        (70_000, 'ring_size = "128MiB"'),
        (1_000_000, 'ring_size = "1GiB"'),
        (10**8, "no ring holds that much: it would take 128 GiB of memory"),
    ],
)
def test_advised_ring_would_have_held_them(lost: int, change: str) -> None:
    """What it held and what was lost, in the next power of two."""
    assert causes.ring(lost, FACTS, Evidence(watched=True)).change == change


def test_causes_before_the_ring() -> None:
    """The processor whose queue it was, and a limit that would have been enough."""
    seen = evidence.of_machine(ticks(times(5, backlog=300, squeezed=2)))
    assert (seen.dropping, seen.squeezed, seen.length) == ({1: 1500}, 20, 5 * STEP)
    found = causes.backlog(1000, seen)
    assert found.text.startswith(
        "the backlog of processor 1 was full (net.core.netdev_max_backlog 1,000)"
    )
    assert found.change == '"net.core.netdev_max_backlog" = 4096 below [tuning.sysctl]'
    assert causes.backlog(None, Evidence()).text.startswith("the backlog of a processor was full:")
    found = causes.nic('ring = "max" below [tuning]', seen)
    assert found.text.endswith("a processor had to leave packets for later 20 times")
    assert found.change == 'ring = "max" below [tuning]'


def test_excerpt_has_what_was_seen() -> None:
    """A row for each tenth of a second; what nobody saw is not in it."""
    moments = [
        *times(3, lost=7, backlog=2, missed=1, pressure=0.5),
        *times(1, state="", sampled=False),
    ]
    gauge = Gauge(16)
    for report in reports(moments):
        gauge.feed(report)
    spans = list(gauge.spans(NOON, NOON + SECOND))
    rows = excerpt.rows(ticks(moments), spans, "v0", "v0")
    assert len(rows) == 4
    assert rows[0] == {
        "at": NOON + STEP,
        "backlog_processed": 2,
        "backlog_dropped": 2,
        "backlog_squeezed": 0,
        "cpu_pressure": 0.5,
        "nic_packets": 1,
        "nic_missed": 1,
        "worker": "S",
        "ran": 0.6,
        "waited": 0.0,
        "waiting": 3,
        "written": 10,
        "lost_ring": 7,
        "lost_disk": 0,
        "writes": 2,
        "slowest_ms": 1.0,
        "writing": 0.05,
        "refused": False,
    }
    assert not rows[3].keys() & {"worker", "waiting", "lost_ring"}


def test_gauge_adds_up_over_workers() -> None:
    """A worker's counts begin at 0, the ring's go on; its loss is the disk's where it was late."""
    gauge = Gauge(6)
    (report,) = reports([Moment(lost=5), Moment(lost=9, slowest=0.4), Moment(lost=1, refused=True)])
    gauge.feed(report)
    assert (gauge.late, gauge.writes[0], gauge.recent.high_water) == (10, 1, 0.5)
    gauge.restart()
    gauge.feed(report._replace(samples=()))
    assert gauge.writes[0] == 2
    assert gauge.recent.slowest == 400_000_000
    assert gauge.recent.p50 is not None
