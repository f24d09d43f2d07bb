"""Rings whose end goes wrong in the daemon itself: they count as lost, and hold nothing up."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from capd.daemon.recording import Recording
from capd.daemon.ringplan import RingPlan
from capd.daemon.rings import Rings
from capd.ring import Geometry
from tests.support.net import Namespace, inside
from tests.support.workers import EVERYTHING, SHAPE, plan

LOST = "v0: its ring could not be drained: what was in it is lost"


def wanted(directory: Path, index: int, shape: Geometry) -> dict[str, RingPlan]:
    """One ring on v0."""
    made = plan(directory, shape)
    return {"v0": RingPlan(made, index, EVERYTHING, promiscuous=False, entry="v0")}


def refuse(recording: Recording) -> None:
    """Somebody who is told of an end, and cannot bear it."""
    raise OSError(f"no room for {recording.name}")


def test_an_end_that_goes_wrong(net: Namespace, tmp_path: Path) -> None:
    """The ring is named, and nothing of it stays."""
    index = net.add_veth("v0", "v1")

    async def run() -> Rings:
        rings = Rings()
        rings.on_end = refuse
        applied = await rings.apply(wanted(tmp_path, index, SHAPE))
        assert not applied.refused
        rings.finish()
        await rings.ended()
        assert rings.all == []
        return rings

    before = os.listdir("/proc/self/fd")
    with inside(net.name):
        assert asyncio.run(run()).lost == [LOST]
    assert os.listdir("/proc/self/fd") == before


def test_an_end_that_goes_wrong_before_another_ring(net: Namespace, tmp_path: Path) -> None:
    """The one that comes after it begins, and ends well."""
    index = net.add_veth("v0", "v1")

    async def run() -> Rings:
        rings = Rings()
        rings.on_end = refuse
        await rings.apply(wanted(tmp_path, index, SHAPE))
        await rings.apply(wanted(tmp_path, index, SHAPE._replace(blocks=64)))
        await rings.settle()
        assert rings.lost == [LOST]
        rings.on_end = None
        rings.finish()
        await rings.ended()
        return rings

    before = os.listdir("/proc/self/fd")
    with inside(net.name):
        assert asyncio.run(run()).lost == [LOST]
    assert os.listdir("/proc/self/fd") == before
