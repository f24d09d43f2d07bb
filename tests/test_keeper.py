"""The thread beside the loop: files are ready, durable and exact, whatever the disk does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd import pcapng
from capd.capture import keeper as module
from capd.capture.closing import closing_statistics
from capd.capture.outcomes import Closed, Spare
from capd.capture.staging import Staging
from capd.capture.state import SegmentState, State
from capd.names import SegmentName, part_name
from capd.units import SECOND
from tests.support import judge
from tests.support.disk import Disk, Faults, mounted
from tests.support.keeping import HEADER, NEVER, SOURCE, Bench, bench
from tests.support.need import need, need_root
from tests.support.statistics import InterfaceStatistics, interface_statistics
from tests.support.wait import wait_for

FIRST, LAST = 1_767_225_599_000_000_042, 1_767_225_600_000_000_000
NAME = SegmentName("eth0", FIRST, 7)
SOON = SECOND // 50
UNCONFIRMED = "the disk did not confirm segment 7, a suspect now: Input/output error"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An ext4 of 8 MiB."""
    need("mount", "umount", "mkfs.ext4", "tcpdump", "tshark", "capinfos")
    need_root()
    with mounted("ext4", tmp_path, 8 * 2**20) as made:
        yield made


def filled(spare: Spare, size: int) -> tuple[SegmentState, bytes]:
    """A segment of `size` bytes, written page by page: its state, and its last page.

    What stands in it behind the header is a block that readers skip.
    """
    content = HEADER + pcapng.padding(size - len(HEADER))
    pages = content.ljust(-(-size // 4096) * 4096, b"\0")
    buffer = Staging(size)
    buffer.append(pages)
    buffer.write(spare.fd)
    tail = content[size // 4096 * 4096 :]
    return SegmentState(7, size, FIRST, LAST, written=90, dropped=7, disk=2, malformed=1), tail


def test_spare_is_an_empty_file(disk: Disk) -> None:
    """Of the right name, valid for every reader, and opened past the page cache."""
    with bench(disk.path) as it:
        spare = it.spare(7)
        part = it.folder / part_name(7)
        assert os.path.samestat(os.fstat(spare.fd), part.stat())
        assert part.read_bytes()[: len(HEADER)] == HEADER
        judge.assert_clean(part)
        assert list(judge.packets(part)) == []
        it.keeper.discard(spare.seq, spare.fd)
        assert os.listdir(it.folder) == []


@pytest.mark.parametrize("size", [300, 4092, 4096, 4100, 8192 - 100, 100_000])
def test_finished_segment(disk: Disk, size: int) -> None:
    """Exactly the bytes, then the counters, under the name of the smallest stamp."""
    with bench(disk.path) as it:
        spare = it.spare(7)
        segment, tail = filled(spare, size)
        path = it.close(spare, segment, tail)
        assert path == it.folder / NAME.folder / NAME.file
        content = path.read_bytes()
        assert content[:size] == HEADER + pcapng.padding(size - len(HEADER))
        (told,) = interface_statistics(path)
        assert told == InterfaceStatistics(told.time, FIRST, LAST, 100, None, 7, 90)
        assert len(content) - size == len(closing_statistics(segment))
        assert b"2 packets lost because the disk did not take them; 1 packets malformed" in content
        judge.assert_clean(path)
        assert os.listdir(it.folder) == [NAME.folder]


def test_segment_without_a_packet(disk: Disk) -> None:
    """Is named by the time of its end."""
    with bench(disk.path) as it:
        path = it.close(it.spare(7), SegmentState(7, len(HEADER)), HEADER)
        (told,) = interface_statistics(path)
        assert (told.received, told.delivered, told.os_dropped) == (0, 0, 0)
        assert told.start == told.end == told.time
        judge.assert_clean(path)


def test_unconfirmed_segment_is_suspect(disk: Disk) -> None:
    """When fdatasync fails at the end, the name says so; the next one is a good one again."""
    need("strace")
    with bench(disk.path) as it:
        spare = it.spare(7)
        with Faults(os.getpid(), "fdatasync", "error=EIO", disk.path.parent / "strace"):
            path = it.close(spare, *filled(spare, 5000))
        assert path.name == NAME.file + ".suspect"
        assert it.trouble() == UNCONFIRMED
        judge.assert_clean(path.rename(path.with_suffix("")))
        path = it.close(it.spare(8), SegmentState(8, len(HEADER), FIRST), HEADER)
        assert path.suffix == ".pcapng"


def test_one_failed_sync_makes_a_segment_suspect(disk: Disk) -> None:
    """The kernel tells of a lost page once; that a later sync succeeds proves nothing."""
    need("strace")
    with bench(disk.path, SOON) as it:
        spare = it.spare(7)
        it.keeper.watch(spare.seq, spare.fd)
        segment, tail = filled(spare, 5000)
        log = disk.path.parent / "strace"
        with Faults(os.getpid(), "fdatasync", "error=EIO", log) as faults:
            for length in (1000, 2000, 3000):
                it.keeper.advance(length)
                count = length // 1000
                wait_for(lambda n=count: len(faults.injected) >= n, 10, "a sync")  # type: ignore[misc]
        assert it.trouble() == UNCONFIRMED
        assert it.close(spare, segment, tail).name == NAME.file + ".suspect"


@pytest.mark.parametrize(
    ("exists", "text"),
    [
        (False, "cannot use {}: No space left on device"),
        (True, "cannot make or name a file in {}: No space left on device"),
    ],
)
def test_full_disk_is_tried_again(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, text: str, *, exists: bool
) -> None:
    """The file is made when there is room; until then it is said once, and nothing lies about."""
    monkeypatch.setattr(module, "RETRY", 0.05)
    with bench(disk.path, SOON) as it:
        if exists:
            it.drop(it.spare(6))
        disk.fill()
        before = os.listdir("/proc/self/fd")
        it.keeper.prepare(7)
        assert it.trouble() == text.format(it.folder)
        disk.clear()
        spare = it.first(Spare)
        assert isinstance(spare, Spare)
        assert len(os.listdir("/proc/self/fd")) == len(before) + 1 + (not exists)
        it.keeper.discard(spare.seq, spare.fd)


@pytest.mark.fault(29)
def test_begin_follows_the_last_number(disk: Disk) -> None:
    """And a name that is taken nevertheless is passed over, whatever has it."""
    (disk.path / "eth0").mkdir()
    (disk.path / "eth0" / part_name(11)).touch()
    with bench(disk.path) as it:
        it.keeper.begin(State())
        twelfth = it.first(Spare)
        (it.folder / part_name(13)).symlink_to("nowhere")
        it.keeper.prepare(13)
        fourteenth = it.first(Spare)
        for spare, seq in ((twelfth, 12), (fourteenth, 14)):
            assert isinstance(spare, Spare)
            assert spare.seq == seq
            it.keeper.discard(spare.seq, spare.fd)
        assert sorted(os.listdir(it.folder)) == [part_name(11), part_name(13)]


def test_adjusted(disk: Disk) -> None:
    """Files that are made from then on have the other header, and are synced as often as said."""
    need("strace")
    other = pcapng.header(SOURCE._replace(filter="udp"))
    with bench(disk.path) as it:
        spare = it.spare(7)
        assert spare.header == HEADER
        it.keeper.watch(spare.seq, spare.fd)
        it.keeper.advance(1000)
        log = disk.path.parent / "strace"
        with Faults(os.getpid(), "fdatasync", "error=EIO", log):
            it.keeper.adjust(other, SOON)
            assert it.trouble() == UNCONFIRMED
        following = it.spare(8)
        assert following.header == other
        assert (it.folder / part_name(8)).read_bytes()[: len(other)] == other
        for one in (spare, following):
            it.drop(one)
        assert os.listdir(it.folder) == []


def test_a_segment_that_was_left_without_a_packet_may_be_gone(disk: Disk) -> None:
    """Nobody has to be told; one with packets is missed."""
    with bench(disk.path) as it:
        for written in (0, 1):
            it.keeper.begin(State(segment=SegmentState(5, len(HEADER), written=written)))
            spare = it.first(Spare)
            assert isinstance(spare, Spare)
            assert spare.seq == 6
            it.drop(spare)
        assert it.trouble() == "segment 5 was deleted while it was written"


def test_deleted_segment(disk: Disk) -> None:
    """Has no path, and nothing takes its name."""
    with bench(disk.path) as it:
        spare = it.spare(7)
        segment, tail = filled(spare, 5000)
        (it.folder / part_name(7)).unlink()
        it.keeper.finish(spare.fd, segment, tail)
        assert it.first(Closed) == Closed(segment, None)
        assert it.trouble() == "segment 7 was deleted while it was written"
        assert os.listdir(it.folder) == []


def test_moved_folder(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is begun in it until it is back; then the one that was wanted is made."""
    monkeypatch.setattr(module, "RETRY", 0.05)
    with bench(disk.path) as it:
        it.drop(it.spare(6))
        it.folder.rename(disk.path / "moved")
        it.folder.mkdir()
        it.keeper.prepare(7)
        assert it.trouble().startswith(f"{it.folder} is gone: ")
        assert os.listdir(disk.path / "moved") == os.listdir(it.folder) == []
        it.folder.rmdir()
        (disk.path / "moved").rename(it.folder)
        spare = it.first(Spare)
        assert isinstance(spare, Spare)
        it.keeper.discard(spare.seq, spare.fd)


def test_segment_ends_without_counters_on_a_full_disk(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written stays exactly so; with room again, name and counters come after all."""
    monkeypatch.setattr(module, "RETRY", 0.05)
    with bench(disk.path) as it:
        spare = it.spare(7)
        segment, tail = filled(spare, 8192)
        disk.fill()
        it.keeper.finish(spare.fd, segment, tail)
        texts = {it.trouble(), it.trouble()}
        assert texts == {
            "segment 7 ends without its counters: No space left on device",
            f"cannot make or name a file in {it.folder}: No space left on device",
        }
        content = (it.folder / part_name(7)).read_bytes()
        assert content == HEADER + pcapng.padding(8192 - len(HEADER))
        disk.clear()
        path = it.closed(segment)
        assert len(interface_statistics(path)) == 1
        judge.assert_clean(path)


def test_without_direct(tmp_path: Path) -> None:
    """Said once; the file is exact, and pushed out every 64 MiB although nothing more comes."""
    need("mount", "umount", "strace")
    need_root()
    with mounted("ramfs", tmp_path, 2**20) as disk, bench(disk.path) as it:
        spare = it.spare(7)
        folder = it.folder
        assert it.trouble() == f"{folder} does not take O_DIRECT: writing through the page cache"
        it.drop(it.spare(8))
        it.keeper.watch(spare.seq, spare.fd)
        with Faults(os.getpid(), "fdatasync", "error=EIO", tmp_path / "strace"):
            it.keeper.advance(module.BUFFERED_SYNC)
            it.keeper.advance(module.BUFFERED_SYNC + 1)
            assert it.trouble() == UNCONFIRMED
        path = it.close(spare, *filled(spare, 5000))
        assert path.name == NAME.file + ".suspect"
        assert path.read_bytes()[:5000] == HEADER + pcapng.padding(5000 - len(HEADER))


def test_direct_refused_by_the_first_write(disk: Disk) -> None:
    """Some file systems open a file for O_DIRECT and then do not bear it."""
    need("strace")
    with bench(disk.path) as it:
        log = disk.path.parent / "strace"
        with Faults(os.getpid(), "pwrite64", "error=EINVAL:when=1", log) as faults:
            spare = it.spare(7)
            assert len(faults.injected) == 1
        assert (it.folder / part_name(7)).read_bytes().startswith(HEADER)
        assert it.trouble().endswith("does not take O_DIRECT: writing through the page cache")
        it.keeper.discard(spare.seq, spare.fd)


@pytest.mark.fault(29)
def test_taken_name_keeps_the_segment(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is overwritten: the part stays until the name is free."""
    monkeypatch.setattr(module, "RETRY", 0.05)
    with bench(disk.path) as it:
        spare = it.spare(7)
        (it.folder / NAME.folder).mkdir()
        (it.folder / NAME.folder / NAME.file).write_bytes(b"precious")
        it.keeper.finish(spare.fd, *filled(spare, 5000))
        assert it.trouble() == f"cannot make or name a file in {it.folder}: File exists"
        assert (it.folder / NAME.folder / NAME.file).read_bytes() == b"precious"
        (it.folder / NAME.folder / NAME.file).unlink()
        assert isinstance(it.first(Closed), Closed)


def test_stop_comes_after_all_tasks(disk: Disk) -> None:
    """What was handed over before is done before the thread ends."""
    it = Bench(disk.path, NEVER)
    spare = it.spare(7)
    segment, tail = filled(spare, 50_000)
    it.keeper.finish(spare.fd, segment, tail)
    it.keeper.prepare(8)
    closed, made = it.rest()
    assert isinstance(closed, Closed)
    assert isinstance(made, Spare)
    it.keeper.discard(made.seq, made.fd)
