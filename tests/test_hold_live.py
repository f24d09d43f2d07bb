"""Holds under traffic: what is held stays on a disk that is full again and again, all else goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capd.names import HOLD_FOLDER, SegmentName
from capd.status import HoldsStatus
from capd.units import SECOND
from tests.support import judge
from tests.support.disk import mounted
from tests.support.frames import Shape, Stream
from tests.support.laying import NOON, lay, there
from tests.support.laying import capd as laid
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

MIB = 2**20
STREAM = Stream(Shape.fixed(1500))
SMALL = 'ring_size = "64MiB"\nflush_interval = "200ms"\nrotate_size = "8MiB"\n'
CAPTURE = SMALL.replace("64MiB", "256MiB")


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("mount", "umount", "mkfs.ext4")


def hold(capd: Recorder, config: Path, *words: str) -> str:
    """The id of a new one."""
    argv = ("hold", "--config", str(config), "--since", "10min", "--reason", "a test", "--json")
    done = capd.order(*argv, *words)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def release(capd: Recorder, config: Path, *words: str) -> None:
    done = capd.order("release", *words, "--config", str(config))
    assert done.returncode == 0, done.stderr


def numbers(directory: Path) -> set[str]:
    """The numbers of the closed segments of v0, compressed or not."""
    return {number(path) for path in directory.glob("v0/*/*")}


def number(path: Path) -> str:
    return path.name.split(".pcapng")[0].rpartition("_")[2]


def told(capd: Recorder) -> HoldsStatus:
    holds = wait_for(lambda: capd.status().holds, 20, "the status to tell of holds")
    assert holds is not None
    return holds


def test_a_small_disk(net: Namespace, tmp_path: Path) -> None:
    """What is held outlives several times the disk's size of traffic, and nothing is lost for it.

    Once it is released, or its time is over, it goes as all else does.
    """
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 120 * MIB) as disk:
        config = write_config(
            tmp_path / "capd.toml", disk.path, "v0", storage='max_usage = "80%"', capture=CAPTURE
        )
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(35_000, 20_000)
            wait_for(lambda: len(list(disk.path.glob("v0/*/*.idx"))) > 1, 20, "closed segments")
            first = hold(capd, config)
            kept = numbers(disk.path)
            source.inject_at(35_000, 80_000)
            capd.wait_line("INFO .*v0: deleted for max_usage: ")
            capd.wait_line(f"INFO .*hold {first} is in force: it keeps .* of every interface")
            assert kept <= numbers(disk.path)
            held = [path for path in segments(disk.path, "v0") if number(path) in kept]
            assert judge.numbers(held, STREAM)[:10_000] == [*range(10_000)]
            second = hold(capd, config, "--interface", "v0", "--for", "1h")
            wait_for(lambda: told(capd).count == 2, 20, "the status to tell")
            assert told(capd).segments >= len(kept)
            assert told(capd).bytes >= len(kept) * 8 * MIB
            assert told(capd).next_expiry is not None
            release(capd, config, first)
            capd.wait_line(f"INFO .*hold {first} is not in force any more: ")
            third = hold(capd, config, "--for", "1s")
            release(capd, config, second)
            capd.wait_line(f"WARNING .*hold {third} is over: ")
            assert list((disk.path / HOLD_FOLDER).iterdir()) == []
            wait_for(lambda: told(capd) == HoldsStatus(0), 20, "the status to tell of none")
            source.inject_at(35_000, 60_000)
            wait_for(lambda: not kept & numbers(disk.path), 20, "it to be deleted")
            assert capd.stop() == 0
        summary = capd.summary("v0")
        assert (summary.received, summary.written, summary.lost) == (160_000, 160_000, 0)


def test_a_disk_that_is_full_of_what_is_held(net: Namespace, tmp_path: Path) -> None:
    """Capture goes on, what is lost is counted, and who asks is told what would help.

    The hold is older than the daemon, and of a time to come.
    """
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 64 * MIB) as disk:
        config = write_config(
            tmp_path / "capd.toml", disk.path, "v0", storage='max_usage = "60%"', capture=SMALL
        )
        made = laid(config, "hold", "--since", "now", "--until", "2100-01-01", "--reason", "all")
        assert made.returncode == 0, made.stderr
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            capd.wait_line("INFO .*hold .* is in force: it keeps")
            source.inject_at(60_000, 100_000)
            line = capd.wait_line("ERROR .*: nothing is left to delete, and .* are missing")
            assert "MiB that are held, or make room, or packets will be lost" in line
            wait_for(lambda: capd.status().rings[0].counters.lost, 20, "packets without room")
            assert not [one for one in capd.lines if "deleted for" in one]
            release(capd, config, "--all")
            capd.wait_line("WARNING .*: there is room for max_usage again")
            wait_for(lambda: capd.status().rings[0].filled < 0.1, 20, "the ring to be written")
            source.inject_at(30_000, 5_000)
            assert capd.stop() == 0
        summary = capd.summary("v0")
        assert summary.received == 105_000 == summary.written + summary.lost
        found = judge.numbers(segments(disk.path, "v0"), STREAM)
        assert found[-5_000:] == [*range(100_000, 105_000)]


def test_in_the_second_directory(net: Namespace, tmp_path: Path) -> None:
    """What moved there stays there by the hold in the first, and what is not held goes."""
    net.add_veth("v0", "v1")
    captures, second = tmp_path / "captures", tmp_path / "archive"
    captures.mkdir(0o750)
    for seq in range(1, 7):
        begin = NOON + seq * 10 * SECOND
        lay(second, SegmentName("w0", begin, seq), begin + SECOND)
    second.chmod(0o750)
    config = write_config(tmp_path / "capd.toml", captures, "v0")
    table = f'\n[archive]\ndirectory = "{second}"\nmax_files = 2\n'
    config.write_text(config.read_text() + table)
    span = ("--since", "2025-11-24 12:00:10", "--until", "2025-11-24 12:00:20")
    made = laid(config, "hold", *span, "--reason", "a test")
    assert made.returncode == 0, made.stderr

    def kept() -> list[int]:
        return [one.seq for one in there(second, "w0")]

    with Recorder(net, config) as capd:
        capd.wait_line("INFO .*w0: deleted for max_files: 3 segments, 3 to 5,")
        assert kept() == [1, 2, 6]
        wait_for(lambda: told(capd).segments == 2, 20, "the status to tell")
        release(capd, config, "--all")
        wait_for(lambda: kept() == [2, 6], 20, "it to go")
        assert capd.stop() == 0
    assert [line for line in capd.lines if "ERROR" in line] == []
