"""`capd extract` on a disk that is kept full: what it holds is not in the way of retention."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import termios
from contextlib import ExitStack
from pathlib import Path

import pytest

from capd.query.sources import Sources, Wanted
from tests.support.command import running
from tests.support.disk import Disk, mounted
from tests.support.extracting import EACH, GAP, config, put, stream
from tests.support.frames import Shape, Stream
from tests.support.load import steady
from tests.support.need import need_root
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.traffic import START
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

MIB = 2**20
PIPE, PAGE = 65536, 4096  # bytes that one holds; it is filled by pages
LARGE = Stream(Shape.fixed(1400))


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Two segments."""
    folder = tmp_path / "captures"
    config(folder)
    for seq in (1, 2):
        put(folder, "v0", seq, stream(0, 0), "raw")
    return folder


def wanted(*directories: Path) -> Wanted:
    return Wanted(tuple(map(str, directories)), START, START + 10**12)


def test_what_is_deleted_is_let_go(captures: Path) -> None:
    """But for what has its turn; and not where there is room."""
    with Sources(wanted(captures)) as sources:
        first, second = sources.hold()["v0"]
        assert sources.take(first) is first
        shutil.rmtree(captures / "v0")
        sources.let_go([str(captures.with_name("other"))])
        assert not second.data.closed
        sources.let_go([str(captures)])
        assert (first.data.closed, second.data.closed) == (False, True)
        assert sources.take(second) is None
        assert sources.vanished == [second.path]


def test_what_reaches_over_the_end_of_the_range(captures: Path) -> None:
    """Is missed as well, if it is let go; and how large it was is known."""
    path = put(captures, "v0", 3, stream(0, EACH), "raw")
    size = path.stat().st_size
    until = START + (EACH + EACH // 2) * GAP
    with Sources(Wanted((str(captures),), START, until)) as sources:
        *_, last = sources.hold()["v0"]
        path.unlink()
        assert sources.waits_in(str(captures))
        sources.let_go([str(captures)])
        assert (last.data.closed, last.size) == (True, size)
        assert sources.vanished == [str(path)]


@pytest.mark.parametrize("how", ["compressed", "moved"])
def test_what_has_another_name_is_not_lost(captures: Path, how: str) -> None:
    """It is held under that."""
    archive = captures.with_name("archive")
    with Sources(wanted(captures, archive)) as sources:
        _, second = sources.hold()["v0"]
        if how == "compressed":
            put(captures, "v0", 2, stream(0, 0), "zst")
        else:
            shutil.copytree(captures, archive)
        for path in captures.glob("v0/*/*_0000000002.pcapng*"):
            if path.suffix != ".zst":
                path.unlink()
        sources.let_go([str(captures)])
        assert second.data.closed
        found = sources.take(second)
        assert found is not None
        assert (found.compressed, found.seq) == (how == "compressed", 2)
        assert found.path.startswith(str(archive if how == "moved" else captures))
        assert sources.vanished == []


def test_a_reader_that_takes_its_time(net: Namespace, tmp_path: Path) -> None:
    """All that it holds is no more in the way of retention than if it were not there."""
    need_root()
    index = net.add_veth("v0", "p0")
    capture = 'ring_size = "16MiB"\nrotate_size = "8MiB"\nflush_interval = "100ms"'
    with mounted("ext4", tmp_path, 256 * MIB) as disk, ExitStack() as stack:
        path = write_config(
            *(tmp_path / "capd.toml", disk.path, "v0"), storage='max_usage = "90%"', capture=capture
        )
        capd = stack.enter_context(Recorder(net, path))
        capd.wait_capturing("v0")
        with FrameSource(LARGE, index, net.name) as source:
            wait_for(lambda: has_deleted(disk, source), 60, "the disk to be full")
        stack.enter_context(steady(net.name, index, LARGE, 10_000))
        oldest = numbers(disk)[0]
        wait_for(lambda: numbers(disk)[0] > oldest, 60, "the disk to be full again")
        unread, output = os.pipe()
        words = ["extract", "--config", str(path), "--since", "1h"]
        stack.enter_context(running(words, capd.runtime, output))
        os.close(output)
        stack.callback(os.close, unread)
        wait_for(lambda: waiting(unread) > PIPE - PAGE, 20, "the pipe to be full")
        before = numbers(disk)
        wait_for(lambda: numbers(disk)[-1] >= before[-1] + 12, 60, "rotations")
        assert len(numbers(disk)) > len(before) * 3 // 4
        assert "nothing is left to delete" not in str(capd.lines)


def has_deleted(disk: Disk, source: FrameSource) -> bool:
    """Whether what comes takes the place of the oldest by now."""
    source.inject(1000)
    return numbers(disk)[:1] > [1]


def numbers(disk: Disk) -> list[int]:
    """Of the segments that are finished."""
    return [int(path.stem.rpartition("_")[2]) for path in segments(disk.path, "v0")]


def waiting(pipe: int) -> int:
    """Bytes in it."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(count)
