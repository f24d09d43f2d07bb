"""A disk that hangs, with a worker in the kernel that nobody can kill."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from capd.daemon import recording, rings
from capd.daemon.life import Delays
from capd.daemon.recording import Recording
from capd.daemon.rings import Rings
from tests.support import judge
from tests.support.disk import Disk, mounted
from tests.support.frames import IMIX, Stream
from tests.support.load import STREAM
from tests.support.need import need
from tests.support.net import Namespace, inside
from tests.support.recorder import segments
from tests.support.wait import until
from tests.support.workers import wanted
from tests.support.xdp import FrameSource

SOON = Delays(silence=1.5, abort=0.1, kill=0.1)
COUNT = 1000  # frames


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    need("mount", "umount", "mkfs.ext4", "fsfreeze")
    monkeypatch.setattr(rings, "LATE", 1.0)
    monkeypatch.setattr(recording, "DELAYS", SOON)
    monkeypatch.setattr(recording, "LAST_DELAYS", replace(SOON, kills=3))


async def written(ring: Recording, count: int) -> None:
    """Until a worker has told that so many are in segments."""
    await until(lambda: ring.counters.written == count)


def test_another_directory(net: Namespace, tmp_path: Path) -> None:
    """The ring that goes on there does not wait; what the other one holds is written later."""
    index = net.add_veth("v0", "v1")

    async def run(disk: Disk) -> None:
        all_rings = Rings()
        await all_rings.apply(wanted(disk.path, index), {})
        (before,) = all_rings.all
        with FrameSource(STREAM, index, net.name) as source:
            await asyncio.to_thread(source.inject, COUNT)
            await written(before, COUNT)
            with disk.frozen():
                await asyncio.to_thread(source.inject, COUNT)
                await all_rings.apply(wanted(tmp_path, index), {})
                (after,) = all_rings.current.values()
                await until(lambda: time.time_ns() > after.kept.since)
                await asyncio.to_thread(source.inject, COUNT)
                await written(after, COUNT)
                assert not before.ended.is_set()
            await before.ended.wait()
        all_rings.finish()
        await all_rings.ended()
        assert all_rings.lost == []

    with mounted("ext4", tmp_path, 64 * 2**20) as disk:
        with inside(net.name):
            asyncio.run(run(disk))
        first = judge.numbers(segments(disk.path, "v0"), STREAM)
    assert first == [*range(2 * COUNT)]
    judge.check_numbers(segments(tmp_path, "v0"), Stream(IMIX, first=2 * COUNT), COUNT)


def test_the_end(net: Namespace, tmp_path: Path) -> None:
    """It comes, and what is lost by it is named."""
    index = net.add_veth("v0", "v1")

    async def run(disk: Disk) -> None:
        all_rings = Rings()
        await all_rings.apply(wanted(disk.path, index), {})
        (ring,) = all_rings.all
        with FrameSource(STREAM, index, net.name) as source:
            await asyncio.to_thread(source.inject, COUNT)
            await written(ring, COUNT)
            with disk.frozen():
                await asyncio.to_thread(source.inject, COUNT)
                all_rings.finish()
                await until(lambda: not all_rings.all)
                assert ring.worker is not None  # it hangs yet
            await until(lambda: ring.worker is None)
        await all_rings.ended()
        assert all_rings.lost == ["v0: its ring could not be drained: what was in it is lost"]

    before = os.listdir("/proc/self/fd")
    with mounted("ext4", tmp_path, 64 * 2**20) as disk, inside(net.name):
        asyncio.run(run(disk))
    assert os.listdir("/proc/self/fd") == before
