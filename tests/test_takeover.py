"""Workers come and go, the ring stays: nothing is lost, nothing is written twice."""

from __future__ import annotations

import os
import random
import re
import signal
import statistics
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from capd.messages import Report
from tests.support import judge
from tests.support.frames import IMIX, Stream
from tests.support.ledger import assert_all_clean, check_ledger, complaints
from tests.support.load import steady
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.workers import Post, plan, posted
from tests.support.xdp import FrameSource

RATE = 10_000  # packets a second
STREAM = Stream(IMIX)
CAPTURE = 'ring_size = "256MiB"\nrotate_size = "8MiB"\nflush_interval = "200ms"'


def _gone(capd: Recorder, worker: int) -> bool:
    return worker not in capd.workers()


def _written(capd: Recorder) -> int:
    """Packets, as far as the daemon has heard."""
    return sum(ring.counters.written for ring in capd.status().rings)


def _another(capd: Recorder, worker: int) -> int:
    (pid,) = wait_for(lambda: [pid for pid in capd.workers() if pid != worker], 20, "another")
    return pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda each: each.name)
def test_workers_that_end_at_random_instants(
    net: Namespace, tmp_path: Path, number: signal.Signals
) -> None:
    """Fifty under load, across rotations: each packet exactly once, in order."""
    ends = 50
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        with steady(net.name, index, STREAM) as source:
            worker = capd.worker()
            wait_for(lambda: _written(capd) > 0, 20, "packets")
            for turn in range(ends):
                time.sleep(chance.uniform(0.2, 0.5))  # the end is to fall anywhere
                before = _written(capd)
                os.kill(worker, number)
                wait_for(partial(_gone, capd, worker), 20, "its end")
                worker = _another(capd, worker)
                if turn % 8 == 0:  # where a start takes long, each would end before it drains
                    wait_for(lambda: _written(capd) > before, 20, "it to go on")  # noqa: B023
        assert capd.stop() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, source.sent).lost == 0
    found = segments(tmp_path, "v0")
    judge.check_numbers(found, STREAM, source.sent)
    assert_all_clean(found)
    assert parts(tmp_path, "v0") == []
    assert capd.summary("v0").files == len(found) > 10
    assert len([line for line in complaints(capd) if "its worker died" in line]) == ends
    told = (
        re.search(r"goes on at block \d+ after a pause of (\d+) ms", line) for line in capd.lines
    )
    pauses = [int(match[1]) for match in told if match]
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")


def test_the_segment_that_was_left_is_told_from_the_first_word_on(
    net: Namespace, tmp_path: Path
) -> None:
    """Whoever reads it meanwhile must not take it for finished."""
    index = net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path)) as post, FrameSource(STREAM, index, net.name) as source:
        post.start()
        source.inject(1000)
        post.wait_written(1000)
        for count in range(2000, 7000, 1000):
            post.kill()
            post.heard.clear()
            source.inject(1000)  # so that a block waits at once
            post.start()
            post.wait_written(count)
            assert {one.segment for one in reports(post)} == {1}
        assert post.finish().counters.files == 1


def reports(post: Post) -> list[Report]:
    """What its worker has said of its progress."""
    return [one for one in post.heard if isinstance(one, Report)]


def test_a_death_disturbs_nobody_else(net: Namespace, tmp_path: Path) -> None:
    streams = {"a0": STREAM, "b0": Stream(IMIX, first=10**9)}
    indices = {name: net.add_veth(name, name.replace("0", "1")) for name in streams}
    config = write_config(tmp_path / "capd.toml", tmp_path, *streams, capture=CAPTURE)
    with Recorder(net, config) as capd:
        capd.wait_capturing(*streams)
        wait_for(lambda: len(capd.workers()) == 2, 20, "both workers")
        first, second = capd.workers()

        def inject(name: str) -> None:
            with FrameSource(streams[name], indices[name], net.name) as source:
                source.inject_at(RATE, 2 * RATE)

        threads = [threading.Thread(target=inject, args=(name,)) for name in streams]
        for thread in threads:
            thread.start()
        threads[0].join(0.5)
        os.kill(first, signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert second in capd.workers()
        assert capd.stop() == 0
    for name, stream in streams.items():
        assert check_ledger(capd, tmp_path, name, stream, 2 * RATE).lost == 0
        assert_all_clean(segments(tmp_path, name))


def test_a_worker_that_dies_while_it_drains(net: Namespace, tmp_path: Path) -> None:
    """Another one finishes the drain."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='flush_interval = "1s"')
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        source.inject_at(RATE, 10_000)
        os.kill(worker, signal.SIGSTOP)
        os.kill(capd.pid, signal.SIGINT)
        os.kill(worker, signal.SIGKILL)
        assert capd.wait() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, 10_000).lost == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 10_000)
    assert parts(tmp_path, "v0") == []


@pytest.mark.fault(45)
def test_a_worker_that_hangs(net: Namespace, tmp_path: Path) -> None:
    """It shows no progress: it is told to abort, then killed, then replaced; the ring held on."""
    capture = CAPTURE.replace("200ms", "1s").replace("256", "512")  # lasts for 30 s and more
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=capture)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        worker = capd.worker()
        with steady(net.name, index, STREAM) as source:
            wait_for(lambda: segments(tmp_path, "v0"), 20, "a segment")
            os.kill(worker, signal.SIGSTOP)
            wait_for(partial(_gone, capd, worker), 60, "its end")
            _another(capd, worker)
        assert capd.stop() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, source.sent).lost == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, source.sent)
    (died,) = [line for line in complaints(capd) if "its worker died" in line]
    assert "(signal 9)" in died
    assert parts(tmp_path, "v0") == []
