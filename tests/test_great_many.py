"""A hundred thousand segments: capd starts, takes the oldest and lists, soon, in little memory."""

from __future__ import annotations

import re
import time
from pathlib import Path

import psutil
import pytest

from tests.bench.directory import fill
from tests.support.disk import mounted
from tests.support.load import RATE, STREAM
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

COUNT = 100_000
LEFT = 99_000
SOON = 20  # s
MEMORY = 256 * 2**20  # of the daemon


@pytest.mark.fault(30)
def test_a_hundred_thousand_segments(net: Namespace, tmp_path: Path) -> None:
    """Of two rings; a list of all of them has each."""
    need("mount", "umount")
    index = net.add_veth("v0", "v1")
    with mounted("tmpfs", tmp_path, 2 * 2**30) as disk:
        fill(str(disk.path), COUNT)
        config = write_config(
            tmp_path / "capd.toml", disk.path, "v0", storage=f"max_files = {LEFT}"
        )
        begun = time.monotonic()
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            assert time.monotonic() - begun < SOON
            source.inject_at(RATE, RATE)
            wait_for(lambda: taken(capd) >= COUNT - LEFT, SOON, "the oldest to go")
            assert psutil.Process(capd.pid).memory_info().rss < MEMORY
            assert capd.stop() == 0
        assert capd.summary("v0").written == RATE
        for ring in ("eth0", "eth1"):
            numbers = [int(path.stem.rpartition("_")[2]) for path in segments(disk.path, ring)]
            assert numbers == [*range(numbers[0], COUNT // 2 + 1)]
            assert numbers[0] == pytest.approx((COUNT - LEFT) / 2 + 1, abs=2)
        begun = time.monotonic()
        listed = capd.order("list", "--config", str(config))
        assert time.monotonic() - begun < SOON
        assert listed.returncode == 0, listed.stderr
        assert listed.stdout.count("eth") >= LEFT - 2


def taken(capd: Recorder) -> int:
    """How many segments the messages say that it has deleted."""
    found = re.findall(r"deleted for max_files: (?:([\d,]+) segments|segment)", str(capd.lines))
    return sum(int(count.replace(",", "") or 1) for count in found)
