"""Nothing left of what a system counts: inodes, descriptors.  Capture goes on, and recovers."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from capd.control import ask
from capd.errors import WorkerError
from tests.support.disk import Disk, Faults, mounted
from tests.support.frames import Shape, Stream
from tests.support.ledger import assert_all_clean, check_ledger
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

MIB = 2**20
STREAM = Stream(Shape.fixed(1500))
CAPTURE = 'ring_size = "256MiB"\nrotate_size = "8MiB"\nflush_interval = "100ms"\n'


@pytest.mark.fault(36)
def test_no_inode_is_left(net: Namespace, tmp_path: Path) -> None:
    """There is room, and none for a file: the oldest goes, and nothing is lost for it."""
    need("mount", "umount", "mkfs.ext4")
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 400 * MIB, "-N", "64") as disk:
        config = write_config(
            tmp_path / "capd.toml", disk.path, "v0", storage='max_usage = "90%"', capture=CAPTURE
        )
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(20_000, 30_000)
            wait_for(lambda: len(segments(disk.path, "v0")) >= 4, 60, "finished segments")
            oldest = segments(disk.path, "v0")[0]
            take_inodes(disk)
            source.inject_at(20_000, 60_000)
            capd.wait_line("INFO .*v0: deleted for max_usage: ")
            assert capd.stop() == 0
        assert not oldest.exists()
        assert disk.free > 300 * MIB // 2, "there was room all the time"
        summary = capd.summary("v0")
        assert (summary.received, summary.lost) == (90_000, 0)
        found = segments(disk.path, "v0")
        assert_all_clean(found)
        numbers = [int(path.stem.rpartition("_")[2]) for path in found]
        assert numbers == [*range(numbers[0], numbers[-1] + 1)]


def take_inodes(disk: Disk) -> None:
    """Somebody makes empty files until there is no inode for another."""
    place = disk.path / "theirs"
    place.mkdir()
    count = 0
    while os.statvfs(disk.path).f_ffree:
        (place / str(count)).touch()
        count += 1
    assert count > 10


def descriptors(pid: int) -> set[int]:
    """Those that are open."""
    return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}


def open_segments(pid: int) -> int:
    """How many of them are segments, finished or not."""
    count = 0
    for fd in descriptors(pid):
        with suppress(FileNotFoundError):  # it was closed meanwhile
            count += ".pcapng" in os.readlink(f"/proc/{pid}/fd/{fd}")
    return count


@contextmanager
def no_descriptor(pid: int, is_at_rest: Callable[[], bool]) -> Iterator[None]:
    """The process can open nothing more meanwhile."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = descriptors(pid)

    def seen() -> bool:  # some are open for a moment only
        done = is_at_rest()
        taken.intersection_update(descriptors(pid))
        return done

    wait_for(seen, 20, "nothing to be about to be closed")
    free = min(set(range(len(taken) + 1)) - taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.fault(39)
def test_no_descriptor_is_left_for_a_worker(net: Namespace, tmp_path: Path) -> None:
    """The segment grows on until the next file can be opened; that is said, and costs nothing."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(20_000, 10_000)
        wait_for(lambda: segments(tmp_path, "v0"), 20, "a rotation")
        worker = capd.worker()
        with no_descriptor(worker, lambda: open_segments(worker) == 2):
            source.inject_at(20_000, 40_000)
            capd.wait_line("ERROR .*v0: cannot .*Too many open files")
        before = len(segments(tmp_path, "v0"))
        source.inject_at(20_000, 20_000)
        wait_for(lambda: len(segments(tmp_path, "v0")) > before, 20, "rotations again")
        assert capd.stop() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, 70_000).lost == 0
    assert_all_clean(segments(tmp_path, "v0"))


@pytest.mark.fault(39)
def test_no_descriptor_is_left_for_the_daemon(net: Namespace, tmp_path: Path) -> None:
    """Nobody can give it an order then; what is captured goes on, and afterwards they can."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    manager = ("env", f"NOTIFY_SOCKET={tmp_path}/manager")  # that does not even listen
    with Recorder(net, config, manager) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        wait_for(lambda: capd.status().nics, 20, "the daemon's first look at everything")
        beats: set[int] = set()

        def has_told_of_itself() -> bool:
            beats.add(capd.status().written_at)
            return len(beats) > 3

        with no_descriptor(capd.pid, has_told_of_itself):
            source.inject_at(20_000, 40_000)
            net.add_veth("w0", "w1")
            capd.wait_line("WARNING cannot look at the interfaces: Too many open files; what is")
            with pytest.raises(WorkerError, match="did not answer"):
                ask(f"{capd.runtime}/control.sock", "reload", 2)
            assert len(segments(tmp_path, "v0")) > 3
        assert wait_for(lambda: capd.order("reload").returncode == 0, 20, "an order")
        source.inject_at(20_000, 10_000)
        assert capd.worker() == worker
        assert capd.stop() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, 50_000).lost == 0
    assert_all_clean(segments(tmp_path, "v0"))


@pytest.mark.fault(39)
def test_the_memory_cannot_be_looked_at(net: Namespace, tmp_path: Path) -> None:
    """The system has no file left for that at a look; what is captured goes on, and it is tried
    again."""
    need("strace")
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "?0", capture=CAPTURE)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        wait_for(lambda: capd.status().nics, 20, "the daemon's first look at everything")
        with Faults(capd.pid, "openat", "error=ENFILE", tmp_path / "log", only=capd.pid):
            net.add_veth("w0", "w1")
            capd.wait_line("WARNING cannot look at the interfaces: Too many open files in system")
        capd.wait_capturing("w0")
        assert capd.stop() == 0
