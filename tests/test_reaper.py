"""Retention at work: small disks under more traffic than they hold, clocks that step, limits."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.disk import Disk, mounted
from tests.support.frames import Shape, Stream
from tests.support.ledger import assert_all_clean, check_ledger
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.stepped_clock import SteppedClock
from tests.support.wait import wait_for
from tests.support.watch import LeastFree
from tests.support.xdp import FrameSource

pytestmark = pytest.mark.alone

MIB = 2**20
STREAM = Stream(Shape.fixed(1500))
CAPTURE = 'ring_size = "256MiB"\nflush_interval = "200ms"\nrotate_size = "8MiB"\n'
YEAR = 365 * 86400


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("mount", "umount", "mkfs.ext4", "mkfs.xfs")


def numbers_of(paths: list[Path]) -> list[int]:
    """The segments' own numbers."""
    return [int(path.stem.rpartition("_")[2]) for path in paths]


def kept(directory: Path, ring: str) -> list[int]:
    """The packets of a ring: the last ones, without a gap."""
    found = judge.numbers(segments(directory, ring), STREAM)
    assert found == [*range(found[0], found[-1] + 1)]
    return found


@pytest.mark.fault(31)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_disk_much_smaller_than_the_traffic(net: Namespace, tmp_path: Path, kind: str) -> None:
    """The reserve stays free all the time, the oldest goes, and nothing is lost."""
    index = net.add_veth("v0", "v1")
    size = 320
    count = size * MIB // 1000  # frames of 1500 bytes: half as much again
    with mounted(kind, tmp_path, size * MIB) as disk:
        config = write_config(
            tmp_path / "capd.toml", disk.path, "v0", storage='max_usage = "80%"', capture=CAPTURE
        )
        space = os.statvfs(disk.path)
        reserve = space.f_blocks * space.f_frsize // 5
        watch = LeastFree(disk)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            watch.start()
            source.inject_at(16_000, count)  # a quarter of the disk is written in three seconds
            assert capd.stop() == 0
        assert watch.end() >= reserve
        summary = capd.summary("v0")
        assert (summary.received, summary.written, summary.lost) == (count, count, 0)
        found = kept(disk.path, "v0")
        assert found[-1] == count - 1
        # a fifth is the reserve, and what comes in three seconds is made room for, by segments
        assert len(found) * 1500 > size * MIB / 3, "more was deleted than had to be"
        files = segments(disk.path, "v0")
        assert numbers_of(files) == [*range(numbers_of(files)[0], numbers_of(files)[-1] + 1)]
        assert_all_clean(files)
        told = "\n".join(capd.lines)
        gone = re.findall(r"v0: deleted for max_usage: .* MiB", told)
        assert gone, told


@pytest.mark.fault(32)
def test_someone_else_fills_the_disk(net: Namespace, tmp_path: Path) -> None:
    """To the last byte: told within seconds, lost as disk, and over by itself."""
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 200 * MIB) as disk:
        config = write_config(
            tmp_path / "capd.toml",
            disk.path,
            "v0",
            storage='max_usage = "80%"',
            capture=CAPTURE.replace("256MiB", "16MiB"),
        )
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(20_000, 20_000)
            wait_for(lambda: len(segments(disk.path, "v0")) > 2, 20, "three finished segments")
            worker = capd.worker()
            with filling(disk):
                capd.wait_line("ERROR .*: nothing is left to delete, and .* are missing", 5)
                assert len(segments(disk.path, "v0")) == 1
                source.inject_at(12_000, 40_000)  # the ring holds more than half a second of it
                capd.wait_line("ERROR .*v0: cannot write: No space left on device")
                capd.wait_line("ERROR .*v0: the ring is nearly full")
            capd.wait_line("WARNING .*v0: writes again after ")
            capd.wait_line("WARNING .*: there is room for max_usage again")
            source.inject_at(20_000, 10_000)
            assert capd.worker() == worker
            assert capd.stop() == 0
        summary = capd.summary("v0")
        assert summary.received == 70_000 == summary.written + summary.lost
        assert summary.disk == summary.lost > 0
        found = judge.numbers(segments(disk.path, "v0"), STREAM)
        assert found[-10_000:] == [*range(60_000, 70_000)]
        assert_all_clean(segments(disk.path, "v0"))
        capd.wait_line(f"lost {summary.disk:,} packets|{summary.disk:,} packets lost")


@contextmanager
def filling(disk: Disk) -> Iterator[None]:
    """Somebody takes every byte there is, also those that capd frees, until the end."""
    end = threading.Event()

    def fill() -> None:
        while not end.is_set():
            disk.fill()
            end.wait(0.02)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        disk.clear()


def told_of(capd: Recorder, directory: Path) -> int:
    """How many segments the status tells of."""
    disk = capd.status().disk
    assert disk is not None
    assert disk.directory == str(directory)
    return disk.segments


@pytest.mark.fault(15)
@pytest.mark.parametrize("steps", [(0, -YEAR), (-56 * YEAR, 0)], ids=["back a year", "from 1970"])
def test_a_clock_that_steps(net: Namespace, tmp_path: Path, steps: tuple[int, int]) -> None:
    """The newest data stay, the oldest go; and what is young is not taken for old."""
    need("gcc")
    index = net.add_veth("v0", "v1")
    clock = SteppedClock(tmp_path)
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    config = write_config(
        tmp_path / "capd.toml",
        directory,
        "v0",
        storage='max_files = 4\nmax_age = "90d"',
        capture=CAPTURE,
    )
    clock.set(steps[0])
    with (
        Recorder(net, config, clock.prefix) as capd,
        FrameSource(STREAM, index, net.name) as source,
    ):
        capd.wait_capturing("v0")
        source.inject_at(20_000, 20_000)
        wait_for(lambda: numbers_of(segments(directory, "v0"))[-1:] >= [3], 20, "segments")
        clock.set(steps[1])
        source.inject_at(20_000, 40_000)
        wait_for(lambda: len(segments(directory, "v0")) == 4, 20, "few files")
        assert capd.stop() == 0
    assert kept(directory, "v0")[-1] == 59_999
    assert len(segments(directory, "v0")) >= 4
    files = segments(directory, "v0")
    assert numbers_of(files) == [*range(numbers_of(files)[0], numbers_of(files)[-1] + 1)]


@pytest.mark.fault(37)
def test_what_an_earlier_run_left_and_other_rules(net: Namespace, tmp_path: Path) -> None:
    """Adopted at the start; a reload puts other rules in force at once."""
    net.add_veth("v0", "v1")
    index = net.index("v0")
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    path = tmp_path / "capd.toml"
    config = write_config(path, directory, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(20_000, 60_000)
        assert capd.stop() == 0
    check_ledger(capd, directory, "v0", STREAM, 60_000)
    before = numbers_of(segments(directory, "v0"))
    assert len(before) > 8
    theirs = foreign(directory, tmp_path)
    write_config(path, directory, "v0", storage="max_files = 6", capture=CAPTURE)
    with Recorder(net, config) as capd:
        capd.wait_line("INFO .*v0: deleted for max_files: .* segments, 1 to ")
        wait_for(lambda: numbers_of(segments(directory, "v0")) == before[-6:], 20, "six files")
        write_config(path, directory, "v0", storage='max_size = "13MiB"', capture=CAPTURE)
        assert capd.reload().splitlines() == [
            "max_files: no limit; before: 6",
            "max_size: 13 MiB; before: no limit",
        ]
        wait_for(lambda: numbers_of(segments(directory, "v0")) == before[-2:], 20, "two files")
        table = '[[interface]]\nname = "v0"\nmax_age = "1s"\n'
        write_config(path, directory, capture=f"{CAPTURE}{table}")
        assert "max_age of v0: 1 s; before: no limit" in capd.reload().splitlines()
        wait_for(lambda: numbers_of(segments(directory, "v0")) == before[-1:], 20, "one file")
        # with the two files of theirs that could be segments
        wait_for(lambda: told_of(capd, directory) == 3, 20, "one segment in the status")
    assert {path: looks(path) for path in theirs} == theirs


def foreign(directory: Path, elsewhere: Path) -> dict[Path, tuple[int, ...]]:
    """What somebody puts there under names of segments that would be the oldest of all.

    The segments themselves get times of change that have nothing to do with their age.
    """
    precious = elsewhere / "precious"
    precious.write_text("precious")
    folder = directory / "w0" / "2020-01-01"
    folder.mkdir(parents=True)
    link, place, hard, strange = (
        folder / f"w0_20200101T00000{seq}.000000000Z_{seq:010d}.pcapng" for seq in range(1, 5)
    )
    link.symlink_to(precious)
    place.mkdir()
    os.link(precious, hard)
    strange.write_bytes(b"theirs")
    os.chown(strange, 12345, 12345)
    strange.chmod(0)
    notes = directory / "v0" / "notes"
    notes.write_text("mine")
    for age, path in enumerate(segments(directory, "v0")):
        os.utime(path, (10**9 - age, 10**9 - age))
    return {path: looks(path) for path in (precious, link, place, hard, strange, notes)}


def looks(path: Path) -> tuple[int, ...]:
    """All that can be seen of a file, but for when it was read."""
    found = path.lstat()
    return (found.st_ino, found.st_mode, found.st_size, found.st_nlink, found.st_mtime_ns)
