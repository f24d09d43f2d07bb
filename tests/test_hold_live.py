"""Holds under traffic: what is held stays on a disk that is full again and again, all else goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capd.names import HOLD_FOLDER
from capd.status import HoldsStatus
from tests.support import judge
from tests.support.disk import mounted
from tests.support.frames import Shape, Stream
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

MIB = 2**20
STREAM = Stream(Shape.fixed(1500))
CAPTURE = 'ring_size = "64MiB"\nflush_interval = "200ms"\nrotate_size = "8MiB"\n'


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("mount", "umount", "mkfs.ext4")


def hold(capd: Recorder, config: Path, *words: str) -> str:
    """The id of a new one."""
    argv = ("hold", "--config", str(config), "--since", "10min", "--reason", "a test", "--json")
    done = capd.order(*argv, *words)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def numbers(directory: Path) -> set[str]:
    """The numbers of the closed segments of v0, compressed or not."""
    return {path.name.split(".pcapng")[0].rpartition("_")[2] for path in directory.glob("v0/*/*")}


def told(capd: Recorder) -> HoldsStatus:
    holds = capd.status().holds
    assert holds is not None
    return holds


def test_a_small_disk(net: Namespace, tmp_path: Path) -> None:
    """What is held outlives several times the disk's size of traffic, and nothing is lost for it.

    Once it is released, or its time is over, it goes as all else does.
    """
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 200 * MIB) as disk:
        config = write_config(
            tmp_path / "capd.toml", disk.path, "v0", storage='max_usage = "80%"', capture=CAPTURE
        )
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(40_000, 20_000)
            wait_for(lambda: len(list(disk.path.glob("v0/*/*.idx"))) > 2, 20, "closed segments")
            first = hold(capd, config)
            kept = numbers(disk.path)
            source.inject_at(50_000, 250_000)
            capd.wait_line("INFO .*v0: deleted for max_usage: ")
            capd.wait_line(f"INFO .*hold {first} is in force: it keeps .* of every interface")
            assert kept <= numbers(disk.path)
            assert judge.numbers(segments(disk.path, "v0"), STREAM)[:15_000] == [*range(15_000)]
            wait_for(lambda: told(capd).segments >= len(kept), 5, "the status to tell")
            assert told(capd).count == 1
            assert told(capd).bytes >= len(kept) * 8 * MIB
            second = hold(capd, config, "--interface", "v0", "--for", "3s")
            assert capd.order("release", first, "--config", str(config)).returncode == 0
            capd.wait_line(f"INFO .*hold {first} is not in force any more: ")
            assert kept <= numbers(disk.path)
            wait_for(lambda: told(capd).next_expiry is not None, 5, "the status to tell of its end")
            capd.wait_line(f"WARNING .*hold {second} is over: ")
            assert list((disk.path / HOLD_FOLDER).iterdir()) == []
            wait_for(lambda: told(capd) == HoldsStatus(0), 5, "the status to tell of none")
            source.inject_at(50_000, 100_000)
            wait_for(lambda: not kept & numbers(disk.path), 20, "it to be deleted")
            assert capd.stop() == 0
        summary = capd.summary("v0")
        assert (summary.received, summary.written, summary.lost) == (370_000, 370_000, 0)


def test_more_is_held_than_there_is_room_for(net: Namespace, tmp_path: Path) -> None:
    """It is said, with how much that is; and over as soon as some of it is released."""
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 150 * MIB) as disk:
        config = write_config(
            tmp_path / "capd.toml", disk.path, "v0", storage='max_usage = "60%"', capture=CAPTURE
        )
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            identity = hold(capd, config, "--until", "2100-01-01")
            capd.wait_line(f"hold {identity} is in force")
            source.inject_at(30_000, 65_000)
            line = capd.wait_line("ERROR .*: nothing is left to delete, and .* are missing")
            assert "MiB that are held, or make room, or packets will be lost" in line
            assert not [one for one in capd.lines if "deleted for" in one]
            assert capd.order("release", "--all", "--config", str(config)).returncode == 0
            capd.wait_line("WARNING .*: there is room for max_usage again")
            assert capd.stop() == 0
        summary = capd.summary("v0")
        assert (summary.received, summary.lost) == (65_000, 0)


def test_in_the_second_directory(net: Namespace, tmp_path: Path) -> None:
    """It moves there, and stays there, by the hold in the first; what is not held goes."""
    index = net.add_veth("v0", "v1")
    captures, second = tmp_path / "captures", tmp_path / "archive"
    for directory in (captures, second):
        directory.mkdir(0o750)
    config = write_config(tmp_path / "capd.toml", captures, "v0", capture=CAPTURE)
    table = f'\n[archive]\ndirectory = "{second}"\nmax_files = 4\n'
    config.write_text(config.read_text() + table)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(40_000, 20_000)
        wait_for(lambda: numbers(captures) | numbers(second), 20, "a closed segment")
        identity = hold(capd, config)
        kept = numbers(captures) | numbers(second)
        source.inject_at(40_000, 60_000)
        capd.wait_line("INFO .*v0: deleted for max_files: ")
        wait_for(lambda: kept <= numbers(second), 20, "what is held to have moved")
        assert capd.order("release", identity, "--config", str(config)).returncode == 0
        wait_for(lambda: not kept & (numbers(second) | numbers(captures)), 20, "it to go")
        assert capd.stop() == 0
    assert capd.summary("v0").lost == 0
    assert [line for line in capd.lines if "ERROR" in line] == []
