"""Packets that find no room in the ring: counted to the packet, and told in the segments."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.frames import IMIX, Shape, Stream
from tests.support.ledger import assert_all_clean, check_ledger
from tests.support.load import stopped
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.scrape import METRICS, answers, fetch, sample, samples
from tests.support.statistics import interface_statistics
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

pytestmark = pytest.mark.alone

SMALL = 'ring_size = "4MiB"\nrotate_size = "8MiB"\nflush_interval = "20ms"'


@pytest.mark.fault(2)
@pytest.mark.parametrize("shape", [Shape.fixed(700), IMIX], ids=lambda shape: shape.name)
def test_a_stopped_worker_loses_to_the_ring_only(
    net: Namespace, tmp_path: Path, shape: Shape
) -> None:
    """Twice, with packets between: the segments' counters add up to what is missing."""
    stream, sent = Stream(shape), 0
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=SMALL)
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        wait_for((tmp_path / "v0").is_dir, 10, "the worker to be up")
        for _ in range(2):
            os.kill(worker, signal.SIGSTOP)
            wait_for(lambda: _state(worker) == "T", 10, "the worker to stand still")
            source.inject(40_000)
            os.kill(worker, signal.SIGCONT)
            source.inject_at(40_000, 20_000)
            sent += 60_000
        assert capd.stop() == 0
    summary = check_ledger(capd, tmp_path, "v0", stream, sent)
    assert summary.dropped > 20_000
    assert summary.disk == summary.malformed == 0
    found = segments(tmp_path, "v0")
    assert len(found) >= 3
    assert_all_clean(found)
    last = [interface_statistics(path)[-1] for path in found]
    assert sum(each.os_dropped or 0 for each in last) == summary.dropped
    assert sum(each.received or 0 for each in last) == sent
    assert sum(each.delivered or 0 for each in last) == summary.written
    assert sum(1 for each in last if each.os_dropped) >= 2


@pytest.mark.fault(3)
def test_who_reads_the_counters_takes_nothing(net: Namespace, tmp_path: Path) -> None:
    """Two ask for the status and one scrapes without a pause; the kernel's counter is read once."""
    stream, sent = Stream(Shape.fixed(700)), 0
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=SMALL)
    config.write_text(f'[metrics]\nlisten = "{METRICS}"\n{config.read_text()}')
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        wait_for(lambda: answers(net, METRICS, "/metrics"), 20, "the metrics")

        def asked() -> int:
            shown = json.loads(capd.order("status", "--json").stdout)
            return int(shown["rings"][0]["counters"]["dropped"])

        def scraped() -> int:
            found = samples(fetch(net, METRICS))
            return int(sample(found, "capd_ring_dropped_packets_total", interface="v0", ring="v0"))

        with seen(asked) as one, seen(asked) as other, seen(scraped) as third:
            for _ in range(6):
                with stopped(capd.worker()):
                    source.inject(20_000)
                source.inject_at(20_000, 10_000)
                sent += 30_000
        wait_for(lambda: capd.status().rings[0].counters.received == sent, 20, "all of the count")
        lost = wait_for(lambda: len({asked(), scraped()}) == 1 and asked(), 10, "one number")
        assert capd.stop() == 0
    summary = check_ledger(capd, tmp_path, "v0", stream, sent)
    assert summary.dropped == lost > 20_000
    for numbers in (one, other, third):
        assert len(set(numbers)) > 2
        assert numbers == sorted(numbers)
        assert numbers[-1] <= lost


@contextmanager
def seen(ask: Callable[[], int]) -> Iterator[list[int]]:
    """All answers, one after the other, for as long as this lasts."""
    answered: list[int] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            answered.append(ask())

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(go_on)
        try:
            yield answered
        finally:
            over.set()
            going.result(30)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
