"""Packets that find no room in the ring: counted to the packet, and told in the segments."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.frames import IMIX, Shape, Stream
from tests.support.ledger import assert_all_clean, check_ledger
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.statistics import interface_statistics
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

pytestmark = pytest.mark.alone

SMALL = 'ring_size = "4MiB"\nrotate_size = "8MiB"\nflush_interval = "20ms"'


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


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
