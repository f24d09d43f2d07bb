"""Packets from the wire to finished segments, counted one by one."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.frames import IMIX, Shape, Stream
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.statistics import interface_statistics
from tests.support.stepped_clock import SteppedClock
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource


@pytest.mark.alone
@pytest.mark.fault(1)
def test_a_million_frames_across_rotations(net: Namespace, tmp_path: Path) -> None:
    """Each exactly once, in order, byte-identical; P1's equation to the packet."""
    count, stream = 1_000_000, Stream(IMIX)
    index = net.add_veth("v0", "v1")
    config = write_config(
        tmp_path / "capd.toml", tmp_path, "v0", capture='ring_size="256MiB"\nrotate_size="16MiB"'
    )
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject(count)
        assert capd.stop() == 0
    summary = capd.summary("v0")
    assert (summary.received, summary.written, summary.lost) == (count, count, 0)
    found = segments(tmp_path, "v0")
    assert len(found) == summary.files > 20
    judge.check_numbers(found, stream, count)
    assert parts(tmp_path, "v0") == []
    for path in found:
        judge.assert_clean(path)
    statistics = [interface_statistics(path)[-1] for path in found]
    assert sum(each.received or 0 for each in statistics) == count
    assert sum(each.delivered or 0 for each in statistics) == count


def test_a_size_that_no_segment_exceeds(net: Namespace, tmp_path: Path) -> None:
    """As long as the disk has the next file ready in time, which is waited for here."""
    batches, each, limit = 24, 1000, 8 * 2**20
    stream = Stream(Shape.fixed(1500))
    index = net.add_veth("v0", "v1")
    config = write_config(
        tmp_path / "capd.toml",
        tmp_path,
        "v0",
        capture='ring_size = "64MiB"\nrotate_size = "8MiB"\nflush_interval = "100ms"',
    )
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        for number in range(1, batches + 1):
            wait_for(partial(_current_and_spare, tmp_path), 20, "the next file")
            source.inject(each)
            wait_for(partial(_bytes_reach, tmp_path, number * each * 1500), 20, "the batch")
        assert capd.stop() == 0
    found = segments(tmp_path, "v0")
    judge.check_numbers(found, stream, batches * each)
    sizes = [path.stat().st_size for path in found]
    assert all(size <= limit for size in sizes)
    assert all(size > limit / 2 for size in sizes[:-1])


@pytest.mark.alone
def test_rotation_every_second_under_load(net: Namespace, tmp_path: Path) -> None:
    count, stream = 80_000, Stream(IMIX)
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='rotate_interval="1s"')
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(20_000, count)
        assert capd.stop() == 0
    found = segments(tmp_path, "v0")
    assert len(found) >= 4
    judge.check_numbers(found, stream, count)
    # A segment may hold packets up to one retire time-out (500 ms) past its boundary.
    for path, following in itertools.pairwise(found):
        first = next(iter(judge.packets(path))).time
        later = next(iter(judge.packets(following))).time
        assert later - first <= 2 * 10**9
        judge.assert_clean(path)


def test_two_interfaces_do_not_mix(net: Namespace, tmp_path: Path) -> None:
    streams = {"a0": Stream(IMIX), "b0": Stream(Shape.fixed(300), first=10**9)}
    indices = {name: net.add_veth(name, name.replace("0", "1")) for name in streams}
    config = write_config(
        tmp_path / "capd.toml", tmp_path, "a0", "b*", capture='ring_size = "64MiB"'
    )
    with Recorder(net, config) as capd:
        capd.wait_capturing("a0", "b0")

        def inject(name: str) -> None:
            with FrameSource(streams[name], indices[name], net.name) as source:
                source.inject_at(30_000, 60_000)

        threads = [threading.Thread(target=inject, args=(name,)) for name in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert capd.stop() == 0
    for name, stream in streams.items():
        judge.check_numbers(segments(tmp_path, name), stream, 60_000)


@pytest.mark.fault(28)
def test_an_empty_segment_is_a_whole_file(net: Namespace, tmp_path: Path) -> None:
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0")
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        capd.wait_line("capturing")
        wait_for(lambda: parts(tmp_path, "v0"), 20, "a file")
        assert capd.stop() == 0
    (path,) = segments(tmp_path, "v0")
    judge.assert_clean(path)
    assert list(judge.packets(path)) == []
    assert parts(tmp_path, "v0") == []


@pytest.mark.fault(12)
def test_an_absent_interface_is_waited_for(net: Namespace, tmp_path: Path) -> None:
    """Others are captured; one that is deleted and made again is, too, its packets kept."""
    stream = Stream(Shape.fixed(200))
    beside = net.add_veth("w0", "w1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", "w0")
    with Recorder(net, config) as capd, FrameSource(stream, beside, net.name) as other:
        capd.wait_capturing("w0")
        other.inject(700)
        capd.wait_line("v0: there is no such interface; capd waits for one")
        index = net.add_veth("v0", "v1")
        capd.wait_capturing("v0")
        with FrameSource(stream, index, net.name) as source:
            source.inject(1000)
        net.delete_link("v0")
        capd.wait_line("v0: received 1,000, written 1,000, dropped 0")
        before = len(capd.lines)
        index = net.add_veth("v0", "v1")
        wait_for(
            lambda: any("capturing" in line for line in capd.lines[before:]), 20, "capture again"
        )
        with FrameSource(Stream(stream.shape, first=1000), index, net.name) as source:
            source.inject(500)
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), stream, 1500)
    judge.check_numbers(segments(tmp_path, "w0"), stream, 700)


@pytest.mark.alone
@pytest.mark.fault(9)
def test_little_traffic_costs_little(net: Namespace, tmp_path: Path) -> None:
    """An idle link writes its header and no more; a packet now and then stays tight."""
    stream = Stream(Shape.fixed(100))
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='flush_interval = "10ms"')
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        wait_for(lambda: len(parts(tmp_path, "v0")) == 2, 20, "a segment and its spare")
        written = _bytes_written(worker)
        idle = _cpu_seconds(worker)
        wait_for(lambda: _turns_passed(worker), 20, "time to pass")
        assert _bytes_written(worker) == written
        assert _cpu_seconds(worker) - idle < 0.05
        (part, _) = parts(tmp_path, "v0")
        for number in range(1, 21):
            source.inject(1)
            wait_for(partial(_holds, part, number), 20, "the packet to be readable already")
        assert capd.stop() == 0
    (path,) = segments(tmp_path, "v0")
    judge.check_numbers([path], stream, 20)
    assert path.stat().st_size < 2 * 20 * (32 + 100) + 400


def _turns_passed(worker: int) -> bool:
    """Whether an idle worker has woken up a few times since it slept first."""
    status = Path(f"/proc/{worker}/status").read_text()
    switches = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)
    assert switches is not None
    return int(switches[1]) > 12


def _bytes_written(pid: int) -> int:
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"])


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _holds(path: Path, count: int) -> bool:
    """Whether libpcap finds so many packets of 100 bytes in a file that is still written."""
    told = subprocess.run(
        ["tcpdump", "-nr", str(path), "-w", "-"], capture_output=True, check=False
    ).stdout
    return len(told) == 24 + count * 116


@pytest.mark.fault(15)
def test_rotation_follows_a_clock_that_steps(net: Namespace, tmp_path: Path) -> None:
    """Two hours ahead, then a year back: a new segment each time, and every packet once."""
    need("gcc")
    stream = Stream(Shape.fixed(100))
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0")
    clock = SteppedClock(tmp_path)
    with (
        Recorder(net, config, clock.prefix) as capd,
        FrameSource(stream, index, net.name) as source,
    ):
        capd.wait_capturing("v0")
        for finished, step in enumerate([0, 7200, -31536000]):
            clock.set(step)
            wait_for(partial(_finished, tmp_path, finished), 20, "a rotation")
            (part, _) = wait_for(partial(_current_and_spare, tmp_path), 20, "the next file")
            source.inject(100)
            wait_for(partial(_holds, part, 100), 20, "the packets in the segment")
        capd.wait_line("WARNING +the system clock was set forward by 2 h, from ")
        capd.wait_line("WARNING +the system clock was set back by 365 days, from ")
        assert capd.stop() == 0
    found = segments(tmp_path, "v0")
    assert len(found) == 3
    judge.check_numbers(found, stream, 300)


def _finished(directory: Path, count: int) -> bool:
    return len(segments(directory, "v0")) == count


def _bytes_reach(directory: Path, least: int) -> bool:
    files = segments(directory, "v0") + parts(directory, "v0")
    with contextlib.suppress(FileNotFoundError):  # one got its final name meanwhile
        return sum(path.stat().st_size for path in files) >= least
    return False


def _current_and_spare(directory: Path) -> list[Path]:
    found = parts(directory, "v0")
    return found if len(found) == 2 else []
