"""Rings that follow each other, and those whose end goes wrong in the daemon itself."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from capd.daemon.life import Phase
from capd.daemon.links import LINKTYPE_RADIOTAP
from capd.daemon.recording import Recording
from capd.daemon.ringplan import RingPlan
from capd.daemon.rings import Rings
from capd.pcapng import LINKTYPE_ETHERNET
from capd.ring import Geometry
from tests.support import judge
from tests.support.frames import IMIX, Stream
from tests.support.load import STREAM, steady
from tests.support.net import Namespace, inside
from tests.support.recorder import segments
from tests.support.wait import until
from tests.support.workers import EVERYTHING, LONG, SHAPE, SOCKET_ROOM, changed, plan, wanted
from tests.support.xdp import FrameSource

LOST = "v0: its ring could not be drained: what was in it is lost"


def refuse(recording: Recording) -> None:
    """Somebody who is told of an end, and cannot bear it."""
    raise OSError(f"no room for {recording.name}")


def test_an_end_that_goes_wrong(net: Namespace, tmp_path: Path) -> None:
    """The ring is named, and nothing of it stays."""
    index = net.add_veth("v0", "v1")

    async def run() -> Rings:
        rings = Rings()
        rings.on_end = refuse
        applied = await rings.apply(wanted(tmp_path, index, SHAPE), {})
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
        await rings.apply(wanted(tmp_path, index, SHAPE), {})
        await rings.apply(wanted(tmp_path, index, SHAPE._replace(blocks=64)), {})
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


def test_one_that_is_succeeded_before_it_began(net: Namespace, tmp_path: Path) -> None:
    """Each is let go once: a descriptor that was closed twice would be somebody else's by then."""
    index = net.add_veth("v0", "v1")

    async def run() -> Rings:
        rings = Rings()
        for blocks in (128, 64, 96, 80):
            applied = await rings.apply(wanted(tmp_path, index, SHAPE._replace(blocks=blocks)), {})
            assert not applied.refused
        assert len(rings.all) == 4
        rings.finish()
        await rings.ended()
        return rings

    before = os.listdir("/proc/self/fd")
    with inside(net.name):
        assert asyncio.run(run()).lost == []
    assert os.listdir("/proc/self/fd") == before


def test_an_interface_that_is_another_by_now(net: Namespace, tmp_path: Path) -> None:
    """A plan is of an index: the ring of another would be opened twice."""
    index = net.add_veth("v0", "v1")

    async def run() -> None:
        applied = await Rings().apply(wanted(tmp_path, index + 1000, SHAPE), {})
        assert applied.refused == {"v0": "v0 was made anew just now"}

    before = os.listdir("/proc/self/fd")
    with inside(net.name):
        asyncio.run(run())
    assert os.listdir("/proc/self/fd") == before


def named(directory: Path, index: int, name: str, shape: Geometry = SHAPE) -> dict[str, RingPlan]:
    """One ring on the interface of this name."""
    made = plan(directory, shape, interface=name, ring=name)
    return {name: RingPlan(made, index, EVERYTHING, promiscuous=False, entry="*")}


def test_a_renamed_link_that_cannot_have_what_is_wanted(net: Namespace, tmp_path: Path) -> None:
    """Its ring goes on under the name before, until there is a program, and memory for another."""
    index = net.add_veth("v0", "v1")
    too_large = SHAPE._replace(blocks=2**24)

    async def run() -> None:
        rings = Rings()
        await rings.apply(named(tmp_path, index, "v0"), {})
        (ring,) = rings.all
        net.set_link("v0", "down")
        net.set_link("v0", "name", "w0")
        applied = await rings.apply({}, {index: "no compiler"})
        assert applied.refused == {"v0": "no compiler; it goes on as before"}
        applied = await rings.apply(named(tmp_path, index, "w0", too_large), {})
        assert list(applied.refused) == ["w0", "v0"]
        assert (rings.all, ring.kept.ending, applied.changes) == ([ring], False, [])
        await rings.apply(named(tmp_path, index, "w0"), {})
        assert list(rings.current) == ["w0"]
        assert ring.kept.ending
        await rings.apply({}, {index + 1: "no compiler"})
        assert rings.current == {}
        await rings.ended()
        assert rings.lost == []

    with inside(net.name):
        asyncio.run(run())


def test_a_filter_for_which_the_socket_has_no_room(net: Namespace, tmp_path: Path) -> None:
    """Both are there for a moment when one replaces the other: another ring takes it."""
    index = net.add_veth("v0", "v1")
    net.run(["sysctl", "-q", SOCKET_ROOM], check=False)  # where it is no namespace's it is so
    (before,) = wanted(tmp_path, index, SHAPE).values()
    before = before._replace(program=LONG)
    after = before._replace(program=LONG + EVERYTHING, plan=plan(tmp_path, filter="ip or not ip"))

    async def run() -> None:
        rings = Rings()
        await rings.apply({"v0": before}, {})
        (ring,) = rings.all
        applied = await rings.apply({"v0": after}, {})
        assert applied.refused == {}
        assert applied.changes == ["v0: filter none -> 'ip or not ip', with a new ring"]
        assert ring.kept.ending
        await rings.settle()
        (ring,) = rings.all
        assert ring.wanted == after
        rings.finish()
        await rings.ended()
        assert rings.lost == []

    with inside(net.name):
        asyncio.run(run())


def test_one_that_is_wanted_again_before_it_has_ended(net: Namespace, tmp_path: Path) -> None:
    """Its worker stands still when it is told to; what comes then is in the other ring alone."""
    index = net.add_veth("v0", "v1")

    async def run() -> None:
        rings = Rings()
        await rings.apply(wanted(tmp_path, index, SHAPE), {})
        (ring,) = rings.all
        await until(lambda: ring.phase is Phase.RUNNING)
        assert ring.worker is not None
        os.kill(ring.worker, signal.SIGSTOP)
        await rings.apply({}, {})
        await rings.apply(wanted(tmp_path, index, SHAPE), {})
        with FrameSource(STREAM, index, net.name) as source:
            await asyncio.to_thread(source.inject, 1000)
        os.kill(ring.worker, signal.SIGCONT)
        rings.finish()
        await rings.ended()
        assert rings.lost == []

    with inside(net.name):
        asyncio.run(run())
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 1000)


def test_a_link_of_another_kind(net: Namespace, tmp_path: Path) -> None:
    """A radio that becomes a monitor, say: what came before stands under the kind before."""
    index, slow = net.add_veth("v0", "v1"), SHAPE._replace(retire_ms=1000)
    (before,) = wanted(tmp_path, index, slow).values()
    after = before._replace(plan=changed(before.plan, link_type=LINKTYPE_RADIOTAP))

    async def run() -> None:
        rings = Rings()
        await rings.apply({"v0": before}, {})
        with FrameSource(STREAM, index, net.name) as source:
            await asyncio.to_thread(source.inject, 1000)
            applied = await rings.apply({"v0": after}, {})
            assert applied.changes == ["v0: its kind of packets 1 -> 127, with a new ring"]
            await until(lambda: time.time_ns() > rings.current["v0"].kept.since)
            await asyncio.to_thread(source.inject, 1000)
        rings.finish()
        await rings.ended()
        assert rings.lost == []

    with inside(net.name):
        asyncio.run(run())
    found = segments(tmp_path, "v0")
    assert [link_type_of(path) for path in found] == [LINKTYPE_ETHERNET, LINKTYPE_RADIOTAP]
    judge.check_numbers(found[:1], STREAM, 1000)
    judge.check_numbers(found, STREAM, 2000)


def link_type_of(path: Path) -> int:
    """Of the interface that a segment describes, behind its section header."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 4)
    return int(struct.unpack_from("<H", content, length + 8)[0])


@pytest.mark.parametrize("after", [("v0", "w0"), ("v0", "x0")], ids=["exchanged", "moved on"])
def test_names_that_change_hands(net: Namespace, tmp_path: Path, after: tuple[str, str]) -> None:
    """Each packet is there once, and in each folder one worker at a time."""
    indices = [net.add_veth("w0", "w1"), net.add_veth("v0", "v1")]
    streams = [STREAM, Stream(IMIX, first=10**9)]
    links = ("w0", "v0")

    def rings_of(names: Sequence[str]) -> dict[str, RingPlan]:
        made = [plan(tmp_path, interface=link) for link in links]
        made = [changed(one, ring=name) for one, name in zip(made, names, strict=True)]
        plans = zip(made, indices, strict=True)
        found = [RingPlan(*one, EVERYTHING, promiscuous=False, entry="*") for one in plans]
        return {one.name: one for one in sorted(found, key=lambda one: one.name)}

    async def run() -> None:
        rings = Rings()
        await rings.apply(rings_of(links), {})
        with (
            steady(net.name, indices[0], streams[0]) as first,
            steady(net.name, indices[1], streams[1]) as second,
        ):
            for names in (after, links):
                sent = first.sent, second.sent
                await until(lambda: first.sent > sent[0] and second.sent > sent[1])  # noqa: B023
                applied = await rings.apply(rings_of(names), {})
                assert applied.refused == {}
                await rings.settle()
                assert sorted(one.name for one in rings.all) == sorted(names)
        rings.finish()
        await rings.ended()
        assert rings.lost == []
        found = judge.numbers(tmp_path.glob("*/*/*.pcapng"), STREAM)
        wanted = [*range(first.sent), *range(10**9, 10**9 + second.sent)]
        assert sorted(found) == wanted
        assert list(tmp_path.glob("*/*.part")) == []

    with inside(net.name):
        asyncio.run(run())


def test_a_folder_that_is_not_free_yet(net: Namespace, tmp_path: Path) -> None:
    """Its ring has been succeeded in another folder; the next one in this waits all the same."""
    first, second = net.add_veth("v0", "v1"), net.add_veth("w0", "w1")
    moved = plan(tmp_path, ring="x0")
    moved_plan = RingPlan(moved, first, EVERYTHING, promiscuous=False, entry="*")
    other = plan(tmp_path, interface="w0")
    other_plan = RingPlan(other, second, EVERYTHING, promiscuous=False, entry="*")

    async def run() -> None:
        rings = Rings()
        await rings.apply(wanted(tmp_path, first, SHAPE), {})
        (ring,) = rings.all
        await until(lambda: ring.phase is Phase.RUNNING)
        assert ring.worker is not None
        os.kill(ring.worker, signal.SIGSTOP)
        await rings.apply({"x0": moved_plan}, {})
        await rings.apply({"x0": moved_plan, "v0": other_plan}, {})
        await asyncio.sleep(0)
        assert rings.current["v0"].phase is Phase.STARTING  # but it has no worker yet
        assert rings.current["v0"].worker is None
        assert await rings.settle(0.1) == ["v0: what came before is not written yet"]
        os.kill(ring.worker, signal.SIGCONT)
        await until(lambda: rings.current["v0"].phase is Phase.RUNNING)
        assert ring.ended.is_set()
        rings.finish()
        await rings.ended()
        assert rings.lost == []

    with inside(net.name):
        asyncio.run(run())
