"""Interfaces that come, go, change and fail: gaps are told, others lose nothing."""

from __future__ import annotations

import re
import statistics
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.support import judge
from tests.support.frames import IMIX, Stream
from tests.support.ledger import assert_all_clean
from tests.support.load import RATE, STREAM, steady
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

OTHER = Stream(IMIX, first=10**9)
DOWN = r"WARNING v0: the (interface was set down|link is down)"
CAPTURE = 'ring_size = "64MiB"\nflush_interval = "200ms"'


def _at(line: str) -> float:
    return datetime.fromisoformat(line[:23].replace(",", ".")).timestamp()


@pytest.mark.fault(11)
def test_deleted_and_made_again(net: Namespace, tmp_path: Path) -> None:
    """Ten times under load: back in under a second as a rule, each gap told with both ends.

    Every second time it is set down first.
    """
    times = 10
    other = net.add_veth("w0", "w1")
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", "w0", capture=CAPTURE)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0", "w0")
        first = STREAM.first
        counts: list[int] = []
        deleted: list[float] = []
        with steady(net.name, other, OTHER) as beside:
            for number in range(times + 1):
                with FrameSource(Stream(IMIX, first=first), index, net.name) as source:
                    source.inject_at(RATE, RATE // 4)
                    first += source.sent
                    counts.append(source.sent)
                if number == times:
                    break
                deleted.append(time.time())
                if number % 2:
                    net.run(["ip", "link", "set", "v0", "down"])
                net.run(["ip", "link", "del", "v0"])
                index = net.add_veth("v0", "v1")
                wait_for(lambda: _told(capd, r"v0: no packets from") > number, 20, "the gap")  # noqa: B023
        assert capd.stop() == 0
    found = segments(tmp_path, "v0")
    judge.check_numbers(found, STREAM, sum(counts))
    judge.check_numbers(segments(tmp_path, "w0"), OTHER, beside.sent)
    assert_all_clean(found)
    assert parts(tmp_path, "v0") == []
    backs = [_at(line) for line in capd.lines if "v0: capturing " in line][1:]
    assert len(backs) == times
    took = [back - gone for gone, back in zip(deleted, backs, strict=True)]
    assert statistics.median(took) < 1, took
    assert max(took) < 5, took
    assert _told(capd, r"v0: no packets from") == times


def _told(capd: Recorder, pattern: str) -> int:
    return sum(bool(re.search(pattern, line)) for line in list(capd.lines))


@pytest.mark.fault(10)
def test_down_and_up(net: Namespace, tmp_path: Path) -> None:
    """The ring stays; the gap has both ends."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        for number in range(3):
            source.inject_at(RATE, RATE // 10)
            net.run(["ip", "link", "set", "v0", "down"])
            wait_for(lambda: _told(capd, DOWN) > number, 20, "its being down")  # noqa: B023
            net.run(["ip", "link", "set", "v0", "up"])
            wait_for(lambda: _told(capd, r"WARNING v0: no packets from") > number, 20, "a gap")  # noqa: B023
        source.inject_at(RATE, RATE // 10)
        assert capd.worker() == worker
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 4 * RATE // 10)


@pytest.mark.fault(10)
def test_a_link_that_stays_down_costs_nothing(net: Namespace, tmp_path: Path) -> None:
    """Neither worker nor daemon spins; the worker wakes once a second to look at the clock."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        worker, daemon = psutil.Process(capd.worker()), psutil.Process(capd.pid)
        source.inject_at(RATE, RATE // 10)
        net.run(["ip", "link", "set", "v0", "down"])
        capd.wait_line(DOWN)
        before, turns = spent(worker, daemon), worker.num_ctx_switches().voluntary
        wait_for(lambda: worker.num_ctx_switches().voluntary >= turns + 5, 20, "turns of its loop")
        assert spent(worker, daemon) - before < 0.25
        net.run(["ip", "link", "set", "v0", "up"])
        capd.wait_line("WARNING v0: no packets from .* the interface was set down")
        source.inject_at(RATE, RATE // 10)
        assert capd.worker() == worker.pid
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 2 * RATE // 10)


def spent(*processes: psutil.Process) -> float:
    """Seconds of a processor so far."""
    times = [each.cpu_times() for each in processes]
    return float(sum(each.user + each.system for each in times))


@pytest.mark.fault(13)
def test_renamed_under_a_pattern(net: Namespace, tmp_path: Path) -> None:
    """A new folder, and not a packet between the two."""
    index = net.add_veth("v0", "x1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v*", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        traffic = threading.Thread(target=source.inject_at, args=(RATE, 2 * RATE))
        traffic.start()
        net.run(["ip", "link", "set", "v0", "name", "v9"])
        capd.wait_capturing("v9")
        traffic.join()
        assert capd.stop() == 0
    files = segments(tmp_path, "v0") + segments(tmp_path, "v9")
    assert segments(tmp_path, "v9")
    judge.check_numbers(files, STREAM, 2 * RATE)


@pytest.mark.fault(13)
def test_moved_to_another_namespace_and_back(net: Namespace, tmp_path: Path) -> None:
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Namespace() as other, Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        net.run(["ip", "link", "set", "v0", "netns", other.name])
        capd.wait_line("WARNING v0: the interface was deleted, or moved")
        capd.wait_line("WARNING v0: there is no such interface; capd waits for one")
        other.run(["ip", "link", "set", "v0", "netns", net.name])
        net.run(["ip", "link", "set", "v0", "up"])
        capd.wait_line("WARNING v0: no packets from")
        index = int(net.run(["ip", "-o", "link", "show", "v0"]).stdout.split(":")[0])
        with FrameSource(STREAM, index, net.name) as source:
            source.inject_at(RATE, RATE // 10)
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, RATE // 10)


def test_the_default_route_moves(net: Namespace, tmp_path: Path) -> None:
    """The link before is kept until the other one has been the default for a while."""
    for number, name in enumerate(("v0", "w0")):
        net.add_veth(name, f"{name}p")
        net.run(["ip", "address", "add", f"10.{number}.0.1/24", "dev", name])
    net.run(["ip", "route", "add", "default", "via", "10.0.0.2"])
    config = write_config(tmp_path / "capd.toml", tmp_path, "@default", capture=CAPTURE)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        net.run(["ip", "route", "replace", "default", "via", "10.1.0.2"])
        capd.wait_line("w0: capturing ")
        capd.wait_line("v0: received 0")
        begun, ended = (
            next(at for at, line in enumerate(capd.lines) if text in line)
            for text in ("w0: capturing ", "v0: received 0")
        )
        assert begun < ended
        net.run(["ip", "route", "del", "default"])
        assert capd.stop() == 0
    assert [line for line in capd.lines if "w0: received 0" in line]


def test_a_thousand_links_cost_no_spin(net: Namespace, tmp_path: Path) -> None:
    """A storm of changes elsewhere: the capture does not notice."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    batch = tmp_path / "batch"
    lines = [f"link add d{number} type veth\nlink del d{number}\n" for number in range(500)]
    batch.write_text("".join(lines))
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        traffic = threading.Thread(target=source.inject_at, args=(RATE, 2 * RATE))
        traffic.start()
        try:
            net.run(["ip", "-batch", str(batch)])
        except subprocess.CalledProcessError as error:
            raise AssertionError(error.stderr) from error
        traffic.join()
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 2 * RATE)
