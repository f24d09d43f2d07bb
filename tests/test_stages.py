"""Packets that are lost on purpose, at each stage where they can be: the right one counts them.

Sent is what is written and what is counted, to the packet; every other stage says 0.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from capd.messages import Missed
from capd.ring import geometry
from tests.support.disk import mounted
from tests.support.frames import Shape, Stream
from tests.support.ledger import check_ledger
from tests.support.load import stopped
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.ring_memory import break_chain, retired, ring_memory
from tests.support.statistics import interface_statistics
from tests.support.wait import wait_for
from tests.support.workers import plan, posted
from tests.support.xdp import FrameSource

MIB = 2**20
STREAM = Stream(Shape.fixed(700))
SMALL = 'ring_size = "4MiB"\nflush_interval = "20ms"\n'
LARGE = 'ring_size = "64MiB"\nflush_interval = "1s"\n'
BLOCK = geometry(4 * MIB, 20_000_000).block_size  # of SMALL
BACKLOG = Path("/proc/sys/net/core/netdev_max_backlog")


def status(capd: Recorder) -> dict[str, Any]:
    """As the daemon writes it."""
    found: dict[str, Any] = json.loads((Path(capd.runtime) / "status.json").read_text())
    return found


def stages(capd: Recorder) -> dict[str, int | None]:
    """What each stage says that it lost."""
    now = status(capd)
    (nic,), (ring,) = now["nics"], now["rings"]
    counters = ring["counters"]
    return {
        "nic": nic["lost"],
        "backlog": now["backlog"]["dropped"],
        "ring": counters["dropped"],
        "disk": counters["disk"],
        "capd": counters["malformed"],
    }


def only(stage: str, packets: int) -> dict[str, int]:
    """That stage, and 0 at every other."""
    return {name: packets * (name == stage) for name in ("nic", "backlog", "ring", "disk", "capd")}


def told(capd: Recorder) -> dict[str, Any]:
    """The only record of a loss, once it is told."""
    capd.wait_line(" lost [0-9,]+ packets? at the ")
    (loss,) = list(wait_for(lambda: status(capd)["losses"], 20, "a record"))
    return dict(loss)


def written(capd: Recorder, count: int) -> bool:
    """Whether so many packets are, and none waits in the ring."""
    with suppress(FileNotFoundError):  # there is no status yet
        rings = status(capd)["rings"]
        return [(one["counters"]["written"], one["filled"]) for one in rings] == [(count, 0)]
    return False


@pytest.mark.fault(2)
def test_ring(net: Namespace, tmp_path: Path) -> None:
    """A worker that stands still; and the ring that is advised would have held them."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=SMALL)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject(1_000)
        wait_for(lambda: written(capd, 1_000), 20, "writes")
        with stopped(capd.worker()):
            source.inject_at(20_000, 20_000)
        loss = told(capd)
        assert stages(capd) == only("ring", loss["packets"])
        assert "while its worker was stopped (SIGSTOP), for about" in loss["cause"]
        ring = status(capd)["rings"][0]
        assert (ring["high_water"], ring["late"]) == (1.0, 0)
        assert sum(ring["writes"]) > 0
        assert 0 < ring["write_p50"] <= ring["write_p99"] <= ring["write_max"]
        assert capd.stop() == 0
    summary = check_ledger(capd, tmp_path, "v0", STREAM, 21_000)
    assert summary.dropped == loss["packets"] > 5_000
    (advised,) = re.findall(r'^ring_size = "(\d+)MiB"$', loss["change"])
    assert int(advised) * MIB > 20_000 * (700 + 82)


@pytest.mark.fault(35)
def test_slow_disk(net: Namespace, tmp_path: Path) -> None:
    """Writes that take 0.4 s: the ring lost them, because of the disk."""
    need("strace")
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=SMALL)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(10_000, 2_000)
        with slow_writes(capd.worker()):
            source.inject_at(20_000, 30_000)
        loss = told(capd)
        assert stages(capd) == only("ring", loss["packets"])
        assert re.search(
            r"was full while the disk was late: \d+% of the time went into writes, .* into one$",
            loss["cause"],
        )
        ring = status(capd)["rings"][0]
        assert ring["late"] == loss["packets"]
        assert ring["write_max"] >= 400_000_000
        wait_for(lambda: written(capd, 32_000 - loss["packets"]), 20, "an empty ring")
        source.inject(2_000)  # it has room for them
        assert capd.stop() == 0
    summary = check_ledger(capd, tmp_path, "v0", STREAM, 34_000)
    assert summary.dropped == loss["packets"] > 1_000


@contextmanager
def slow_writes(pid: int) -> Iterator[None]:
    """Each pwrite of a process takes 0.4 s longer meanwhile."""
    argv = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=pwrite64:delay_enter=400000"]
    with subprocess.Popen([*argv, "-p", str(pid)]) as strace:
        tracer = Path(f"/proc/{pid}/status")
        wait_for(lambda: f"TracerPid:\t{strace.pid}" in tracer.read_text(), 20, "strace")
        try:
            yield
        finally:
            strace.terminate()


def test_full_disk(net: Namespace, tmp_path: Path) -> None:
    """No room on it: given up for it, and counted there with the bytes."""
    need("mount", "umount", "mkfs.ext4")
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 128 * MIB) as disk:
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", capture=LARGE)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(10_000, 2_000)
            disk.fill()
            source.inject_at(60_000, 68_000)  # more than the ring keeps, less than it holds
            capd.wait_line("ERROR .*v0: the ring is nearly full")
            disk.clear()
            loss = told(capd)
            assert stages(capd) == only("disk", loss["packets"])
            assert loss["cause"].startswith("the disk did not take them in time: ")
            assert str(disk.path) in loss["change"]
            refused = status(capd)["rings"][0]["counters"]["refused"]
            assert refused >= loss["packets"] * 700
            assert capd.stop() == 0
        summary = check_ledger(capd, disk.path, "v0", STREAM, 70_000)
        assert summary.disk == loss["packets"] > 1_000


def test_backlog(net: Namespace, tmp_path: Path) -> None:
    """RPS to another processor whose queue holds next to nothing."""
    if not os.access(BACKLOG, os.W_OK) or (os.cpu_count() or 1) < 2:
        pytest.skip("needs to set net.core.netdev_max_backlog, and two processors")
    index = net.add_veth("v0", "v1")
    net.run(["sh", "-c", "echo 2 >/sys/class/net/v0/queues/rx-0/rps_cpus"])
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=LARGE)
    before = BACKLOG.read_text()
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        wait_for(lambda: status(capd)["backlog"]["cpus"], 20, "the first look")
        try:
            BACKLOG.write_text("10")
            source.inject(20_000)
        finally:
            BACKLOG.write_text(before)
        loss = told(capd)
        assert loss["interface"] == ""
        assert loss["cause"].startswith("the backlog of processor 1 was full")
        assert loss["change"].startswith('"net.core.netdev_max_backlog" = ')
        (nic,) = status(capd)["nics"]
        assert nic["counters"]["rx_dropped"] == loss["packets"]  # the same packets
        assert "backlog" in nic["includes"]["rx_dropped"]
        assert stages(capd) == only("backlog", loss["packets"])
        assert capd.stop() == 0
    summary = check_ledger(capd, tmp_path, "v0", STREAM, None)
    assert summary.received == summary.written == 20_000 - loss["packets"]
    assert loss["packets"] > 1_000


@pytest.mark.fault(19)
def test_malformed_block(net: Namespace, tmp_path: Path) -> None:
    """A block that announces packets which it does not hold: capd's own stage."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=SMALL)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        with stopped(capd.worker()), ring_memory(capd.pid, 4 * MIB) as memory:
            source.inject(100)
            (block,) = wait_for(lambda: retired(memory, BLOCK), 20, "a block")
            lost = break_chain(memory, block, keep=40)
        loss = told(capd)
        assert loss["packets"] == lost == 60
        assert stages(capd) == only("capd", lost)
        assert capd.stop() == 0
    summary = check_ledger(capd, tmp_path, "v0", STREAM, 100)
    assert (summary.written, summary.malformed) == (40, 60)


def test_what_the_nic_missed_stands_in_the_segment(net: Namespace, tmp_path: Path) -> None:
    """As isb_ifdrop, added to nothing; it survives a worker, and a new segment begins at 0."""
    index = net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path)) as post, FrameSource(STREAM, index, net.name) as source:
        post.start()
        source.inject(1_000)
        post.wait_written(1_000)
        post.send(Missed(70))
        source.inject(1_000)
        post.wait_written(2_000)
        post.restart()
        post.send(Missed(7))
        source.inject(1_000)
        post.wait_written(3_000)
        post.adjust(filter="not port 22", filter_since=1)
        source.inject(1_000)
        finished = post.finish()
    assert finished.counters.received == finished.counters.written == 4_000
    first, second = (interface_statistics(path)[-1] for path in segments(tmp_path, "v0"))
    assert (first.dropped, first.received, first.os_dropped) == (77, 3_000, 0)
    assert (second.dropped, second.received) == (None, 1_000)
    shown = subprocess.run(
        [
            *("tshark", "-X", "read_format:MIME Files Format", "-T", "fields"),
            *("-e", "pcapng.options.option.data.interface.dropped"),
            *("-r", str(segments(tmp_path, "v0")[0])),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip().split(",") == ["70", "77", "77"]
