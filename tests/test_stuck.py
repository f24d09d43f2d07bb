"""Segments that cannot be deleted: the next ones go instead, and these when they can be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capd.catalog import RingFiles, Segment
from capd.daemon.reaper import Reaper, Territory
from capd.daemon.retention import Kept, Need, Policy, choose
from capd.daemon.stuck import RETRY, Stuck
from capd.daemon.trusted_clock import TrustedClock
from capd.names import SegmentName
from tests.support.disk import Disk, mounted
from tests.support.laying import NOON, SIZE, lay, there, with_hold
from tests.support.need import need, need_root
from tests.support.wait import wait_for

MIB = 2**20
HOUR = 3600 * 10**9


def fill(directory: Path, count: int) -> list[Path]:
    """So many segments of a MiB."""
    paths = [lay(directory, SegmentName("v0", NOON + n * HOUR, n)) for n in range(1, count + 1)]
    for path in paths:
        path.write_bytes(bytes(MIB))
        os.sync()
    return paths


def numbers(directory: Path) -> list[int]:
    return [one.seq for one in there(directory, "v0")]


@contextmanager
def reaping(directory: Path, policy: Policy) -> Iterator[Reaper]:
    reaper = Reaper(Territory(str(directory), require_mount=False, policy=policy), TrustedClock())
    reaper.start()
    try:
        yield reaper
    finally:
        reaper.end()
        reaper.join()


def chattr(flag: str, path: Path) -> None:
    subprocess.run(["chattr", flag, str(path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    need("mount", "mkfs.ext4", "chattr")
    need_root()
    with mounted("ext4", tmp_path, 64 * MIB) as disk:
        yield disk


def test_the_reserve_is_kept_with_what_can_go(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """Each reason is told once, and nobody hears that nothing is left."""
    first, second, *_ = fill(disk.path, 12)
    with reaping(disk.path, Policy()) as reaper:
        wait_for(lambda: reaper.outlook.segments == 12, 10, "a look")
        chattr("+i", first)
        os.link(second, disk.path / "kept")
        space = os.statvfs(disk.path)
        policy = Policy(min_free=space.f_bavail * space.f_frsize + MIB)
        reaper.adjust(Territory(str(disk.path), require_mount=False, policy=policy))
        total = space.f_blocks * space.f_frsize
        wanted = MIB + total // 20  # what is missing, and what is to come
        gone = -(-wanted // MIB)
        wait_for(lambda: numbers(disk.path) == [1, 2, *range(3 + gone, 13)], 10, "room")
        looked = reaper.outlook
        reaper.wake()
        wait_for(lambda: reaper.outlook is not looked, 10, "another look")
        assert reaper.outlook.missing == 0
    chattr("-i", first)
    assert "nothing is left" not in caplog.text
    assert caplog.text.count("cannot delete") == 2
    assert f"cannot delete {first}: Operation not permitted" in caplog.text
    assert f"cannot delete {second}: it is not capd's any more" in caplog.text


def test_it_goes_when_it_can(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """At once, if nothing else is left."""
    first, *_ = fill(disk.path, 4)
    chattr("+i", first)
    with reaping(disk.path, Policy(min_free=2**40)) as reaper:
        wait_for(lambda: numbers(disk.path) == [1, 4], 10, "the others to go")
        wait_for(lambda: reaper.outlook.missing, 10, "it to be told")
        chattr("-i", first)
        wait_for(lambda: numbers(disk.path) == [4], 10, "the last one")
    assert caplog.text.count("cannot delete") == 1
    assert caplog.text.count("nothing is left") == 1


SEGMENTS = [Segment("v0", n, NOON + n * HOUR, 10, "2025-11-24", (".pcapng",), True) for n in (1, 2)]


def test_once_is_an_accident() -> None:
    stuck, (one, other) = Stuck(), SEGMENTS
    key = one.ring, one.seq, one.stamp
    assert stuck.learn({key: "EIO"}, 5.0)
    assert not stuck.passes(one, 5.0)
    assert stuck.learn({key: "EPERM"}, 6.0)
    assert stuck.passes(one, 6.0)
    assert not stuck.passes(other, 6.0)
    assert not stuck.learn({key: "EPERM"}, 7.0)
    assert stuck.reasons == {"EPERM"}
    assert not stuck.passes(one, 7.0 + RETRY)
    assert stuck.learn({key: "EPERM"}, 7.0 + RETRY)
    stuck.forget([other])
    assert stuck.reasons == set()


@pytest.mark.parametrize(
    "policy",
    [Policy(max_files=2), Policy(max_size=20), Policy(max_age=HOUR)],
    ids=["max_files", "max_size", "max_age"],
)
def test_by_any_rule(policy: Policy) -> None:
    """It counts, and the next one goes; last for want of room, behind what waits for the hook."""
    files = [SEGMENTS[0]._replace(seq=n, stamp=NOON + n * HOUR) for n in (1, 2, 3)]
    kept = Kept(stuck=lambda one: one.seq == 1, waits=lambda one: one.seq == 2)
    rings, now = {"v0": RingFiles(files)}, NOON + 9 * HOUR
    assert choose(rings, Need(0, ""), policy, now, kept).victims == []
    chosen = choose(rings, Need(20, "min_free"), policy, now, kept)
    assert [victim.segment.seq for victim in chosen.victims] == [2, 1]
    chosen = choose(rings, Need(0, ""), policy, now, Kept(stuck=lambda one: one.seq == 1))
    assert [victim.segment.seq for victim in chosen.victims] == [2]


def test_what_is_not_capds_makes_no_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No rule counts it, so nobody hears that a rule leaves no room for more than what is held."""
    need_root()
    directory = with_hold(tmp_path / "captures")
    for seq, begin in enumerate((NOON, NOON + HOUR, NOON + 2 * HOUR), 1):
        lay(directory, SegmentName("v0", begin, seq), begin)
    for seq in range(4):
        os.chown(lay(directory, SegmentName("v1", NOON, seq)), 12345, 12345)
    with reaping(directory, Policy(max_files=6)) as reaper:
        wait_for(lambda: reaper.outlook.segments == 7, 10, "a look")
        assert reaper.outlook.foreign == (4, 4 * SIZE)
        assert reaper.holds.amount.segments == 1
    assert "leaves room for little more" not in caplog.text
