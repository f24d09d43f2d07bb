"""The reaper's system calls fail: only the oldest go, nothing is forgotten, and it goes on."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from capd import index as indexes
from capd.control import ask
from capd.daemon.reaper import LATEST
from tests.support.archive import SECTION, Shelf
from tests.support.disk import Faults, detach, mounted
from tests.support.frames import Shape, Stream
from tests.support.ledger import deleted
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, write_config
from tests.support.sections import index_of
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

KEPT, VICTIMS = 3, 2
FUTEX = "202"  # on x86_64
RING = "w0"  # of an earlier run: nobody captures it now
STREAM = Stream(Shape.fixed(1500))
LIMIT = f"max_files = {KEPT}"


class Beat:
    """A daemon with a directory in which segments come to be too many, again and again."""

    def __init__(self, capd: Recorder, config: Path, shelf: Shelf, log: Path) -> None:
        self.capd, self._config, self._shelf, self._log = capd, config, shelf, log
        self._newest = self._turns = 0
        for _ in range(KEPT):
            self._add()

    def round(self, calls: str, how: str) -> bool:
        """A pass with a failure, and one without; whether there was something to fail."""
        self._rule("")
        for _ in range(VICTIMS):
            self._add()
        newest = range(self._newest - KEPT + 1, self._newest + 1)
        victims = range(newest[0] - VICTIMS, newest[0])
        begin = len(self.capd.lines)
        with Faults(self.capd.pid, calls, how, self._log, only=self._reaper()) as faults:
            for folder in (self._shelf.directory / RING).iterdir():
                os.utime(folder)  # to be read again, though a look have come between
            self._rule(LIMIT)
            wait_for(lambda: told(self.capd.lines[begin:]) or faults.injected, 20, "a pass")
            failed = bool(faults.injected)
        assert {*newest} <= {*self._numbers()} <= {*victims, *newest}, (calls, how)
        self._rule(f'{LIMIT}\nmax_age = "90000d"')
        wait_for(lambda: self._settled([*newest]), 20, f"the newest alone, after {calls} {how}")
        wait_for(lambda: self._told_of() == KEPT, 20, "the status to say so")
        wait_for(lambda: len(self._deleted(begin)) >= VICTIMS, 20, "them to be told of")
        lines = self.capd.lines[begin:]
        assert sorted(self._deleted(begin)) == [*victims], lines
        assert sum("ERROR" in line for line in lines) <= 1, lines
        return failed

    def _add(self) -> None:
        self._newest += 1
        path = self._shelf.add(self._newest, 2000, ring=RING)
        contents = index_of(self._shelf.contents[self._newest], SECTION)
        Path(f"{path}.idx").write_bytes(indexes.encode(contents))

    def _rule(self, storage: str) -> None:
        write_config(self._config, self._shelf.directory, "v0", storage=storage)
        answer = ask(f"{self.capd.runtime}/control.sock", "reload")
        assert answer.done, answer

    def _deleted(self, begin: int) -> list[int]:
        return deleted(self.capd.lines[begin:], RING)

    def _numbers(self) -> list[int]:
        return [one.seq for one in self._shelf.segments]

    def _settled(self, wanted: list[int]) -> bool:
        """Whether these segments are there, each with its index, and nothing else of the ring."""
        return (
            self._numbers() == wanted
            and all(len(one.suffixes) == 2 for one in self._shelf.segments)
            and len(list(self._shelf.directory.glob(f"{RING}/*/*"))) == 2 * len(wanted)
        )

    def _told_of(self) -> int:
        disk = self.capd.status().disk
        return -1 if disk is None else disk.segments  # nothing is told of what cannot be looked at

    def _reaper(self) -> int:
        seen: list[int] = []

        def rests() -> int:  # others wait for a moment, too
            seen.append(reaper_of(self.capd.pid))
            return seen[-1] if seen[-10:] == [seen[-1]] * 10 else 0

        return wait_for(rests, 20, "the reaper at rest")


def reaper_of(pid: int) -> int:
    """The only thread besides the first that waits for no longer than a time; 0: there is none."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        call = (thread / "syscall").read_text().split()
        if thread.name != str(pid) and call[0] == FUTEX and call[4] != "0x0":
            found.append(int(thread.name))
    return found[0] if len(found) == 1 else 0


def told(lines: list[str]) -> list[str]:
    """What the reaper says when it has looked."""
    return [line for line in lines if "deleted for" in line or "cannot delete" in line]


def test_a_disk_that_is_read_only_and_then_gone(net: Namespace, tmp_path: Path) -> None:
    """Each is said once however often it looks, nothing goes, and capd stays."""
    need("mount", "umount", "mkfs.ext4")
    if os.stat(tmp_path).st_dev != os.stat("/").st_dev:
        pytest.skip("the tests' directory is on a mount of its own")
    net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 64 * 2**20) as disk:
        shelf = Shelf(disk.path)
        for seq in range(1, 6):
            shelf.add(seq, 2000, ring=RING)
        storage = 'require_mount = true\nmax_usage = "90%"'
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", storage=storage)
        with Recorder(net, config) as capd:
            capd.wait_capturing("v0")
            wait_for(lambda: all(one.indexed for one in shelf.segments), 20, "indexes")
            before = shelf.segments
            capd.signal(signal.SIGSTOP)
            disk.fill()
            disk.abort()
            capd.signal(signal.SIGCONT)
            capd.wait_line("ERROR +cannot delete .*: Read-only file system")
            looks_often()
            detach(capd.pid, disk.path)
            capd.wait_line("ERROR +nothing is deleted in .* while its disk is not mounted")
            looks_often()
            assert capd.status().state == "running"
            lines = list(capd.lines)
        assert sum("cannot delete" in line for line in lines) == 1, lines
        assert sum("nothing is deleted" in line for line in lines) == 1, lines
        assert shelf.segments == before


def test_a_quota_that_refuses_an_open_segment(net: Namespace, tmp_path: Path) -> None:
    """The free space tells nothing of it; the oldest goes until the worker can write again."""
    need("mount", "umount", "mkfs.ext4", "strace")
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 64 * 2**20) as disk:
        shelf = Shelf(disk.path)
        for seq in range(1, 5):
            shelf.add(seq, 2000, ring=RING)
        storage = 'max_usage = "90%"'
        config = write_config(tmp_path / "capd.toml", disk.path, "v0", storage=storage)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            wait_for(lambda: [one for one in capd.status().rings if one.segment], 20, "a segment")
            with Faults(capd.worker(), "pwrite64", "error=EDQUOT", tmp_path / "log"):
                source.inject(10)
                capd.wait_line("ERROR +v0: cannot write: Disk quota exceeded")
                wait_for(lambda: sorted(deleted(capd.lines, RING))[:2] == [1, 2], 20, "room")
                assert capd.status().rings[0].segment
            capd.wait_line("WARNING v0: writes again after .*; 0 packets lost to the disk")


def test_a_quota_that_refuses_the_next_file(net: Namespace, tmp_path: Path) -> None:
    """While the current one goes on beyond its time: the oldest goes until there is another."""
    need("strace")
    index = net.add_veth("v0", "v1")
    shelf = earlier(tmp_path / "captures", 8)
    storage = 'max_usage = "100%"\nmin_free = "1MiB"'
    rotation = 'rotate_interval = "1s"'
    config = write_config(
        tmp_path / "capd.toml", shelf.directory, "v0", storage=storage, capture=rotation
    )
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        wait_for(lambda: [one for one in capd.status().rings if one.segment], 20, "a segment")
        with Faults(capd.worker(), "openat", "error=EDQUOT", tmp_path / "log"):
            source.inject_at(20, 50)
            capd.wait_line("ERROR +v0: cannot make or name a file in .*: Disk quota exceeded")
            wait_for(lambda: sorted(deleted(capd.lines, RING))[:3] == [1, 2, 3], 20, "room")


def test_a_quota_that_refuses_the_first_file(net: Namespace, tmp_path: Path) -> None:
    """A cold start: the oldest goes until there is a file to write to."""
    need("strace")
    shelf = earlier(tmp_path / "captures", 8)
    storage = 'max_usage = "100%"\nmin_free = "1MiB"'
    config = write_config(tmp_path / "capd.toml", shelf.directory, "v0", storage=storage)
    with Recorder(net, config) as capd:
        wait_for(lambda: all(one.indexed for one in shelf.segments), 20, "indexes")
        with Faults(capd.pid, "mkdir,mkdirat", "error=EDQUOT", tmp_path / "log"):
            index = net.add_veth("v0", "v1")
            capd.wait_line("ERROR +v0: cannot use .*: Disk quota exceeded")
            with FrameSource(STREAM, index, net.name) as source:
                source.inject(10)
            capd.wait_line("ERROR +v0: cannot write: there is no file to write to")
            wait_for(lambda: sorted(deleted(capd.lines, RING))[:3] == [1, 2, 3], 20, "room")
        capd.wait_line("WARNING v0: writes again after .*; 0 packets lost to the disk")


def test_another_directory_because_the_disk_is_full(net: Namespace, tmp_path: Path) -> None:
    """That the one before refuses is no reason to delete in the one that comes after it."""
    need("mount", "umount", "mkfs.ext4")
    index = net.add_veth("v0", "v1")
    shelf = earlier(tmp_path / "captures", 4)
    storage = 'max_usage = "100%"\nmin_free = "1MiB"'
    path = tmp_path / "capd.toml"
    with mounted("ext4", tmp_path, 64 * 2**20) as disk:
        config = write_config(path, disk.path, "v0", storage=storage)
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            wait_for(lambda: [one for one in capd.status().rings if one.segment], 10, "a segment")
            disk.fill()
            source.inject(10_000)
            capd.wait_line("ERROR +v0: cannot write: No space left on device")
            write_config(path, shelf.directory, "v0", storage=storage)
            capd.reload()
            wait_for(lambda: looked_at(capd, shelf.directory), 10, "a look at the other one")
            disk.clear()
    assert deleted(capd.lines, RING) == []
    assert [one.seq for one in shelf.segments if one.ring == RING] == [1, 2, 3, 4]


def looked_at(capd: Recorder, directory: Path) -> bool:
    disk = capd.status().disk
    return disk is not None and disk.directory == str(directory) and disk.segments > 0


def earlier(directory: Path, count: int) -> Shelf:
    """So many segments of an earlier run."""
    directory.mkdir(0o750)
    shelf = Shelf(directory)
    for seq in range(1, count + 1):
        shelf.add(seq, 2000, ring=RING)
    return shelf


def looks_often() -> None:
    """The time in which the reaper looks three times, where it cannot do what it has to."""
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 3.5 * LATEST, 20, "three looks")


@pytest.mark.parametrize("call", ["openat", "newfstatat", "getdents64", "statfs"])
def test_the_nth_look_fails(net: Namespace, tmp_path: Path, call: str) -> None:
    """For every n: what was not seen is not forgotten, and nothing that is young goes instead."""
    need("strace")
    net.add_veth("v0", "v1")
    shelf = Shelf(tmp_path / "captures")
    shelf.directory.mkdir(0o750)
    config = write_config(tmp_path / "capd.toml", shelf.directory, "v0")
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        beat, failed = Beat(capd, config, shelf, tmp_path / "log"), 0
        while beat.round(call, f"error=EIO:when={failed + 1}"):
            failed += 1
    assert failed > 0
    place = re.escape(f"cannot read {shelf.directory}/{RING}")
    unseen = [line for line in capd.lines if re.search(rf"{place}\b.*; nothing in it", line)]
    assert bool(unseen) == (call != "statfs"), capd.lines


@pytest.mark.parametrize("error", ["EIO", "EROFS", "EPERM", "EINTR"])
def test_the_nth_deletion_fails(net: Namespace, tmp_path: Path, error: str) -> None:
    """For every n: it is said once, the others go, and with the next look this one too."""
    need("strace")
    net.add_veth("v0", "v1")
    shelf = Shelf(tmp_path / "captures")
    shelf.directory.mkdir(0o750)
    config = write_config(tmp_path / "capd.toml", shelf.directory, "v0")
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        beat, failed = Beat(capd, config, shelf, tmp_path / "log"), 0
        while beat.round("unlink,unlinkat", f"error={error}:when={failed + 1}"):
            failed += 1
    # the data and the index of each, and then the folder, which is not empty
    assert failed == 3 * VICTIMS
