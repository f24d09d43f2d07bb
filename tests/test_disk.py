"""Disks that are full, small, read-only, gone, or without O_DIRECT: capd stays and counts."""

from __future__ import annotations

import re
import resource
import shutil
from pathlib import Path

import pytest

from capd.capture.outcomes import Closed
from capd.capture.state import SegmentState, State
from capd.messages import Finish
from capd.names import part_name
from tests.support import judge
from tests.support.disk import detach, mounted
from tests.support.frames import Shape, Stream
from tests.support.keeping import HEADER, bench
from tests.support.ledger import assert_all_clean, check_ledger, complaints
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.workers import plan, posted
from tests.support.xdp import FrameSource

MIB = 2**20
STREAM = Stream(Shape.fixed(1500))
RING = 'ring_size = "16MiB"\nflush_interval = "200ms"\n'  # holds 7,000, whatever the disk does
SMALL_FILES = 'rotate_size = "8MiB"\n'


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("mount", "umount", "mkfs.ext4", "nsenter")


def lost_as_told(capd: Recorder) -> int:
    """What capd's warnings say that the disk has cost."""
    told = "\n".join(capd.lines)
    found = re.findall(r"writes again after .*; ([\d,]+) packets lost to the disk", told)
    return sum(int(count.replace(",", "")) for count in found)


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("kind", "files"),
    [("ext4", SMALL_FILES), ("tmpfs", "")],
    ids=["ext4, small files", "tmpfs, one file"],
)
def test_a_full_disk(net: Namespace, tmp_path: Path, kind: str, files: str) -> None:
    """Filled by traffic: said once, counted as lost to the disk, over when there is space."""
    index = net.add_veth("v0", "v1")
    with mounted(kind, tmp_path, 128 * MIB) as disk:
        config = write_config(
            tmp_path / "capd.toml",
            disk.path,
            "v0",
            storage='sync_interval = "1s"',
            capture='ring_size = "64MiB"\n' + files,  # a quarter is free: two seconds at the end
        )
        disk.fill(leave=16 * MIB)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(20_000, 48_000)
            capd.wait_line("ERROR .*v0: cannot write: No space left on device")
            capd.wait_line("ERROR .*v0: the ring is nearly full")
            source.inject_at(5_000, 10_000)
            said = complaints(capd)
            disk.clear()
            capd.wait_line(" writes again ")
            wait_for(lambda: capd.status().rings[0].filled < 0.1, 20, "the ring to be written")
            source.inject_at(10_000, 5_000)
            assert capd.stop() == 0
        summary = check_ledger(capd, disk.path, "v0", STREAM, 63_000)
        assert summary.disk == lost_as_told(capd) > 5_000
        found = judge.numbers(segments(disk.path, "v0"), STREAM)
        assert found[-5_000:] == [*range(58_000, 63_000)]
        assert len(said) <= 3, said
        assert parts(disk.path, "v0") == []
        assert_all_clean(segments(disk.path, "v0"))


@pytest.mark.fault(32)
@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_space_in_time_costs_nothing(net: Namespace, tmp_path: Path, kind: str) -> None:
    """Packets wait in the ring for the disk."""
    index = net.add_veth("v0", "v1")
    with mounted(kind, tmp_path, 64 * MIB) as disk:
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", capture=RING)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            wait_for(lambda: len(parts(disk.path, "v0")) == 2, 20, "a segment and its spare")
            disk.fill()
            source.inject_at(40_000, 5_000)
            capd.wait_line("ERROR .*v0: cannot write: No space left on device")
            disk.clear()
            capd.wait_line("WARNING .*v0: writes again after .*; 0 packets lost to the disk")
            assert capd.stop() == 0
        summary = check_ledger(capd, disk.path, "v0", STREAM, 5_000)
        assert summary.lost == 0
        assert len(complaints(capd)) == 2
        assert_all_clean(segments(disk.path, "v0"))


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_disk_full_from_the_start(net: Namespace, tmp_path: Path, kind: str) -> None:
    """capd starts, waits, and captures what came meanwhile once there is space."""
    index = net.add_veth("v0", "v1")
    with mounted(kind, tmp_path, 64 * MIB) as disk:
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", capture=RING)
        disk.fill()
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(40_000, 5_000)
            capd.wait_line("ERROR .*v0: cannot .*No space left on device")
            capd.wait_line("ERROR .*v0: cannot write: there is no file to write to")
            disk.clear()
            capd.wait_line("WARNING .*v0: writes again after .*; 0 packets lost to the disk")
            assert capd.stop() == 0
        assert check_ledger(capd, disk.path, "v0", STREAM, 5_000).lost == 0
        assert_all_clean(segments(disk.path, "v0"))


def test_full_until_the_end(net: Namespace, tmp_path: Path) -> None:
    """A stop while the disk is full: what could not be written is counted, the file is whole."""
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 64 * MIB) as disk:
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", capture=RING)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(20_000, 5_000)
            wait_for(lambda: _written(capd) == 5_000, 20, "packets on the disk")
            disk.fill()
            source.inject_at(20_000, 5_000)
            capd.wait_line("ERROR .*v0: cannot write: No space left on device")
            assert capd.stop(30) == 0
        summary = check_ledger(capd, disk.path, "v0", STREAM, 10_000)
        assert 0 < summary.disk <= 5_000
        assert parts(disk.path, "v0") == []
        assert_all_clean(segments(disk.path, "v0"))


@pytest.mark.fault(39)
def test_a_limit_on_the_size_of_files(net: Namespace, tmp_path: Path) -> None:
    """RLIMIT_FSIZE, not at a page's edge: no death by SIGXFSZ, the next file goes on."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='ring_size = "32MiB"\n')
    limit = 3_000_001
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        resource.prlimit(capd.worker(), resource.RLIMIT_FSIZE, (limit, limit))
        source.inject_at(10_000, 12_000)
        assert capd.stop() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, 12_000).lost == 0
    found = segments(tmp_path, "v0")
    assert len(found) > 4
    assert all(path.stat().st_size <= limit for path in found)
    assert_all_clean(found)


@pytest.mark.fault(40)
def test_a_disk_that_breaks(net: Namespace, tmp_path: Path) -> None:
    """The kernel makes a broken ext4 read-only: capd says so, counts, and still stops."""
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 64 * MIB) as disk:
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", capture=RING + SMALL_FILES)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(20_000, 7_000)
            wait_for(lambda: segments(disk.path, "v0"), 20, "a finished segment")
            disk.abort()
            source.inject_at(20_000, 20_000)
            capd.wait_line("ERROR .*v0: .*Read-only file system")
            capd.wait_line("ERROR .*v0: the ring is nearly full")
            assert capd.worker()
            capd.stop(30)
        summary = capd.summary("v0")
        assert summary.received == 27_000 == summary.written + summary.dropped + summary.disk
        assert summary.disk > 0
        assert len(complaints(capd)) <= 14  # with the alert, and what the ledger waits for
        found = segments(disk.path, "v0")
        assert_all_clean(found)
        finished = judge.numbers(found, STREAM)
        assert finished == [*range(len(finished))]


@pytest.mark.fault(40)
def test_a_disk_taken_away(net: Namespace, tmp_path: Path) -> None:
    """`umount --lazy` under a run: nothing goes into the mount point below; all is counted."""
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 64 * MIB) as disk:
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", capture=RING + SMALL_FILES)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(10_000, 5_000)
            detach(capd.pid, disk.path)
            source.inject_at(20_000, 20_000)
            capd.wait_line(f"ERROR .*v0: {disk.path}/v0 is gone: its disk was unmounted")
            assert capd.stop(30) == 0
        check_ledger(capd, disk.path, "v0", STREAM, 25_000)


def test_a_directory_that_is_away_at_the_end(net: Namespace, tmp_path: Path) -> None:
    """When a worker takes over, and is to end at once: what the one before left is closed."""
    index = net.add_veth("v0", "v1")
    directory, away = tmp_path / "captures", tmp_path / "away"
    directory.mkdir()
    with (
        posted(net, plan(directory)) as post,
        FrameSource(STREAM, index, net.name) as source,
    ):
        post.start()
        wait_for(lambda: len(parts(directory, "v0")) == 2, 20, "a segment and its spare")
        source.inject(100)
        post.wait_written(100)
        post.kill()
        directory.rename(away)
        post.start()
        post.send(Finish())
        wait_for(lambda: post.events, 20, "it to be missed")
        away.rename(directory)
        assert post.wait_finished().counters.files == 1
    assert parts(directory, "v0") == []
    judge.check_numbers(segments(directory, "v0"), STREAM, 100)
    assert_all_clean(segments(directory, "v0"))


def test_a_directory_that_comes_when_all_is_given_up(tmp_path: Path) -> None:
    """Both segments that a worker left are closed in the last seconds."""
    for seq in (1, 2):
        lay_part(tmp_path / "away", seq)
    with bench(tmp_path / "captures") as it:
        one, two = (SegmentState(seq, len(HEADER), 1, 1, written=1) for seq in (1, 2))
        it.keeper.begin(State(segment=two, closing=one))
        it.keeper.stop()
        assert it.trouble().startswith(f"cannot use {it.folder}: ")
        (tmp_path / "away").rename(tmp_path / "captures")
        for each in (one, two):
            assert it.closed(each).exists()


def test_a_left_segment_that_the_disk_does_not_give(tmp_path: Path) -> None:
    """Is left to salvage; a rotation that waited for it for ever would be none."""
    lay_part(tmp_path, 1)
    with bench(tmp_path) as it:
        segment = SegmentState(1, len(HEADER) + 4, 1, 1, written=1)
        it.keeper.begin(State(closing=segment))
        assert it.first(Closed) == Closed(segment, None)
        told = (it.trouble() for _ in range(2))  # perhaps that it is not written directly
        assert any(text.startswith("cannot close segment 1: ") for text in told)
        it.rest()
        it.outcomes.clear()
        assert (tmp_path / "eth0" / part_name(1)).read_bytes() == HEADER


def lay_part(directory: Path, seq: int) -> None:
    """A segment that was left with a header in it."""
    (directory / "eth0").mkdir(parents=True, exist_ok=True)
    (directory / "eth0" / part_name(seq)).write_bytes(HEADER)


@pytest.mark.fault(40)
@pytest.mark.parametrize("all_of_it", [True, False], ids=["folder", "files"])
def test_deleted_under_a_run(net: Namespace, tmp_path: Path, all_of_it: bool) -> None:
    """capd says so, counts, and begins anew: what comes then is not written to nowhere."""
    index = net.add_veth("v0", "v1")
    often = 'sync_interval = "100ms"'
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", storage=often, capture=RING)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        wait_for(lambda: len(parts(tmp_path, "v0")) == 2, 20, "a segment and its spare")
        if all_of_it:
            shutil.rmtree(tmp_path / "v0")
        else:
            for path in parts(tmp_path, "v0"):
                path.unlink()
        for number in (1, 2):
            source.inject_at(20_000, 1_000)
            capd.wait_line(f"ERROR .*v0: segment {number} was deleted while it was written")
        source.inject_at(20_000, 1_000)
        assert capd.stop(30) == 0
    folder = f"{tmp_path}/v0 was deleted with all that was in it; another is made"
    assert sum(folder in line for line in complaints(capd)) == all_of_it
    summary = capd.summary("v0")
    assert summary.received == summary.written == 3_000
    assert judge.numbers(segments(tmp_path, "v0"), STREAM)[-1_000:] == [*range(2_000, 3_000)]


@pytest.mark.fault(34)
def test_no_o_direct(net: Namespace, tmp_path: Path) -> None:
    """A file system that refuses O_DIRECT gets the same bytes through the page cache."""
    index = net.add_veth("v0", "v1")
    with mounted("ramfs", tmp_path, 0) as disk:
        config = write_config(
            tmp_path / "capd.toml",
            disk.path,
            "v0",
            storage='sync_interval = "1s"',
            capture='ring_size = "128MiB"\n' + SMALL_FILES,
        )
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(20_000, 30_000)
            assert capd.stop() == 0
        assert check_ledger(capd, disk.path, "v0", STREAM, 30_000).lost == 0
        assert len(segments(disk.path, "v0")) > 4
        assert_all_clean(segments(disk.path, "v0"))
        (told,) = complaints(capd)
        assert "does not take O_DIRECT" in told


def _written(capd: Recorder) -> int:
    (ring,) = capd.status().rings
    return ring.counters.written
