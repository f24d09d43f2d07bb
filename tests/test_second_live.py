"""The whole of capd with a second directory: under traffic, too small, absent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from capd.names import SegmentName
from capd.status import Status
from tests.support import judge
from tests.support.archive import Shelf
from tests.support.disk import Faults, detach, mounted
from tests.support.frames import Shape, Stream
from tests.support.laying import NOON, lay, there
from tests.support.ledger import assert_all_clean, deleted
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, archive_of, segments, write_config
from tests.support.wait import wait_for
from tests.support.watch import LeastFree
from tests.support.xdp import FrameSource

MIB = 2**20
STREAM = Stream(Shape.fixed(1500))
CAPTURE = 'ring_size = "256MiB"\nflush_interval = "200ms"\nrotate_size = "8MiB"\n'


def config_of(folder: Path, second: Path, rules: str = "") -> Path:
    """Captures beside this file, and the second directory."""
    directory = folder / "captures"
    directory.mkdir(mode=0o750, exist_ok=True)
    path = write_config(folder / "capd.toml", directory, "v0", capture=CAPTURE)
    path.write_text(f'{path.read_text()}\n[archive]\ndirectory = "{second}"\n{rules}\n')
    return path


def nothing_to_move(status: Status) -> bool:
    """Whether the archive process is done, as the status tells."""
    archive = status.archive
    return archive is not None and archive.moved > 0 and not archive.unmoved + archive.backlog


def told_segments(capd: Recorder) -> int:
    """How many the status says that the second directory has: it looks there now and then."""
    second = capd.status().second_disk
    return -1 if second is None else second.segments


def numbers_in(*directories: Path) -> list[int]:
    """The packets in these, in the order of the segments."""
    paths = [path for directory in directories for path in segments(directory, "v0")]
    assert_all_clean(paths)
    return judge.numbers(paths, STREAM)


def test_a_second_disk_much_smaller_than_the_traffic(net: Namespace, tmp_path: Path) -> None:
    """Its reserve stays free all the time, the oldest goes there, and nothing is lost."""
    index = net.add_veth("v0", "v1")
    count = 240_000  # 360 MB
    with mounted("ext4", tmp_path, 150 * MIB) as disk:
        config = config_of(tmp_path, disk.path, 'max_usage = "80%"')
        space = os.statvfs(disk.path)
        reserve = space.f_blocks * space.f_frsize // 5
        watch = LeastFree(disk)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            watch.start()
            source.inject_at(20_000, count)
            wait_for(lambda: nothing_to_move(capd.status()), 60, "everything moved")
            assert watch.end() >= reserve
            wait_for(lambda: told_segments(capd) == len(segments(disk.path, "v0")), 10, "the count")
            second = capd.status().second_disk
            assert second is not None
            assert second.directory == str(disk.path)
            assert second.oldest is not None
            listed = capd.order("list", "--json", "--config", str(config))
            found = json.loads(listed.stdout)["segments"]
            assert len({(one["ring"], one["seq"]) for one in found}) == len(found)
            assert {one["path"].rpartition("/v0/")[0] for one in found} == {
                *(str(disk.path), str(tmp_path / "captures"))
            }
            assert capd.order("verify", "--config", str(config)).returncode == 0
            capd.wait_line("INFO .*v0: deleted for max_usage: ")
            assert capd.stop() == 0
        summary = capd.summary("v0")
        assert (summary.received, summary.written, summary.lost) == (count, count, 0)
        kept = numbers_in(disk.path, tmp_path / "captures")
        assert kept == [*range(kept[0], count)]
        assert len(kept) * 1500 > 0.4 * 150 * MIB, "more was deleted than had to be"


def test_the_first_disk_is_new(net: Namespace, tmp_path: Path) -> None:
    """Numbers go on behind those that the second directory has."""
    index = net.add_veth("v0", "v1")
    second = tmp_path / "archive"
    for seq in (1, 41):
        lay(second, SegmentName("v0", NOON + seq, seq), NOON + seq + 1)
    with Recorder(net, config_of(tmp_path, second)) as capd:
        capd.wait_capturing("v0")
        with FrameSource(STREAM, index, net.name) as source:
            source.inject_at(10_000, 1000)
        assert capd.stop() == 0
    assert [one.seq for one in there(tmp_path / "captures", "v0")] == [42]


@pytest.mark.fault(49)
def test_absent_and_back(net: Namespace, tmp_path: Path) -> None:
    """Segments stay, loudly; capture does not care; then they move."""
    index = net.add_veth("v0", "v1")
    second = tmp_path / "archive"
    config = config_of(tmp_path, second)
    captures = tmp_path / "captures"
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        capd.wait_line(f"ERROR .*cannot look after {second}: No such file or directory; segments")
        source.inject_at(20_000, 40_000)
        wait_for(lambda: len(list(captures.glob("v0/*/*.idx"))) > 3, 20, "closed segments")
        incomplete = capd.order("list", "--config", str(config))
        assert incomplete.returncode == 3
        assert f"incomplete: cannot read {second}" in incomplete.stderr
        assert "archive.directory: there is no" in capd.order("check", str(config)).stderr
        second.mkdir(0o750)
        capd.wait_line(f"INFO .*{second} can be used again")
        wait_for(lambda: len(segments(captures, "v0")) == 1, 20, "everything moved")
        wait_for(lambda: nothing_to_move(capd.status()), 10, "a status that says so")
        assert capd.order("list", "--config", str(config)).returncode == 0
        assert capd.stop() == 0
    assert numbers_in(second, captures) == [*range(40_000)]


def test_its_mount_vanishes(net: Namespace, tmp_path: Path) -> None:
    """With `require_mount` not a byte is written below its mount point."""
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 150 * MIB) as disk:
        config = config_of(tmp_path, disk.path, "require_mount = true")
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(20_000, 20_000)
            wait_for(lambda: nothing_to_move(capd.status()), 20, "everything moved")
            before = len(segments(disk.path, "v0"))
            detach(capd.pid, disk.path)
            source.inject_at(20_000, 40_000)
            capd.wait_line("ERROR .*nothing is deleted in .* while its disk is not mounted; segm")
            below = Path(f"/proc/{capd.pid}/root{disk.path}")
            wait_for(lambda: unmoved(capd) > 3, 20, "segments that stay")
            assert list(below.iterdir()) == []
            assert capd.stop() == 0
        assert len(segments(disk.path, "v0")) == before
        assert numbers_in(disk.path, tmp_path / "captures") == [*range(60_000)]


def unmoved(capd: Recorder) -> int:
    """Segments that wait."""
    archive = capd.status().archive
    return archive.unmoved if archive is not None else 0


def test_a_reload(net: Namespace, tmp_path: Path) -> None:
    """The table comes and goes; what changed is told."""
    index = net.add_veth("v0", "v1")
    second = tmp_path / "archive"
    second.mkdir(0o750)
    config = config_of(tmp_path, second, 'max_age = "30d"')
    with_it = config.read_text()
    without = with_it.partition("\n[archive]")[0]
    config.write_text(without)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(20_000, 20_000)
        config.write_text(with_it)
        assert capd.reload().splitlines() == [
            f"archive.directory: {second}; before: none",
            "archive.max_age: 30 d; before: no limit",
            "archive.max_usage: 95%; before: no limit",
        ]
        wait_for(lambda: nothing_to_move(capd.status()), 20, "everything moved")
        config.write_text(without)
        capd.reload()
        moved = len(segments(second, "v0"))
        source.inject_at(20_000, 20_000)
        wait_for(lambda: len(segments(tmp_path / "captures", "v0")) > 3, 20, "segments that stay")
        assert capd.status().second_disk is None
        assert len(segments(second, "v0")) == moved
        assert capd.stop() == 0
    assert numbers_in(second, tmp_path / "captures") == [*range(40_000)]


def test_the_first_disk_is_full(net: Namespace, tmp_path: Path) -> None:
    """Where nothing is to be deleted, what moves is all that makes room: that is not put off."""
    need("mount", "umount", "mkfs.ext4")
    index, second = net.add_veth("v0", "v1"), tmp_path / "archive"
    with mounted("ext4", tmp_path, 64 * MIB) as disk:
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", capture=CAPTURE)
        config.write_text(f'{config.read_text()}\n[archive]\ndirectory = "{second}"\n')
        shelf = Shelf(disk.path)
        for seq in range(1, 9):
            shelf.add(seq, 2 * MIB, ring="w0")
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            wait_for(lambda: all(one.indexed for one in shelf.segments), 20, "indexes")
            wait_for(lambda: [one for one in capd.status().rings if one.segment], 10, "a segment")
            disk.fill()
            source.inject(4_000)
            capd.wait_line("ERROR +v0: cannot write: No space left on device")
            second.mkdir(0o750)
            capd.wait_line("WARNING v0: writes again after .*; 0 packets lost to the disk", 30)
            disk.clear()


def test_a_quota_that_refuses(net: Namespace, tmp_path: Path) -> None:
    """The free space tells nothing of it: room is made for one segment each time, and they move."""
    need("strace")
    net.add_veth("v0", "v1")
    first, second = tmp_path / "captures", tmp_path / "archive"
    rules = 'max_usage = "100%"\nmin_free = "1MiB"\n[compression]\nenabled = false'
    config = config_of(tmp_path, second, rules)
    for seq in range(1, 16):
        stamp = NOON + seq
        lay(second if seq < 13 else first, SegmentName("w0", stamp, seq), stamp)
    second.rename(tmp_path / "away")
    with Recorder(net, config) as capd:
        archive = wait_for(lambda: archive_of(capd.pid), 10, "the archive process")
        capd.wait_line(f"ERROR .*cannot look after {second}: No such file or directory; segments")
        with Faults(archive, "pwrite64", "error=EDQUOT", tmp_path / "log") as faults:
            (tmp_path / "away").rename(second)
            wait_for(lambda: len(deleted(capd.lines, "w0")) > 1, 30, "room for two")
        capd.wait_line("INFO .*segments move to .* again", 60)
        wait_for(lambda: [one.seq for one in there(first, "w0")] == [15], 60, "everything moved")
        gone = deleted(capd.lines, "w0")
    assert gone == [*range(1, len(gone) + 1)]
    assert len(gone) <= len(faults.injected)
    assert [one.seq for one in there(second, "w0")] == [*range(len(gone) + 1, 15)]
