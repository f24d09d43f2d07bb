"""One directory, one daemon; and nothing is written where a disk is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from capd.daemon.claim import Claims
from capd.errors import StorageError
from tests.support.disk import detach, mounted
from tests.support.frames import Shape, Stream
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

MIB = 2**20
STREAM = Stream(Shape.fixed(1500))
CAPTURE = 'ring_size = "16MiB"\nflush_interval = "100ms"\nrotate_size = "8MiB"\n'


def test_a_claim(tmp_path: Path) -> None:
    """Its own is taken again; another's only once it is let go."""
    first, second = Claims(), Claims()
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        first.take(str(tmp_path / directory))
        first.take(str(tmp_path / directory))
    with pytest.raises(StorageError, match="another capd records into it"):
        second.take(str(tmp_path / "a"))
    first.keep_only({str(tmp_path / "b")})
    second.take(str(tmp_path / "a"))
    with pytest.raises(StorageError, match="another capd records into it"):
        second.take(str(tmp_path / "b"))
    with pytest.raises(StorageError, match=r"cannot use .*/absent: No such file"):
        first.take(str(tmp_path / "absent"))


@pytest.mark.security("directory")
def test_two_daemons(net: Namespace, tmp_path: Path) -> None:
    """The second one does not start there, nor go there by a reload; a killed one holds nothing."""
    for name, peer in (("v0", "v1"), ("w0", "w1")):
        net.add_veth(name, peer)
    mine, other = tmp_path / "mine", tmp_path / "other"
    for directory in (mine, other):
        directory.mkdir(0o750)
    first = write_config(tmp_path / "first.toml", mine, "v0", capture=CAPTURE)
    second = write_config(tmp_path / "second.toml", mine, "w0", capture=CAPTURE)
    text = f"storage.directory: cannot use {mine}: another capd records into it"
    with Recorder(net, first) as capd:
        capd.wait_capturing("v0")
        with Recorder(net, second) as late:
            assert late.wait(20) == 2
            assert any(text in line for line in late.lines), late.lines
        write_config(second, other, "w0", capture=CAPTURE)
        with Recorder(net, second) as late:
            late.wait_capturing("w0")
            write_config(second, mine, "w0", capture=CAPTURE)
            done = late.order("reload")
            assert (done.returncode, text in done.stderr) == (1, True)
            subprocess.run(["kill", "-9", str(capd.pid)], check=True)
            wait_for(lambda: late.order("reload").returncode == 0, 10, "a reload that is accepted")
            assert capd.wait(20) == -9
            write_config(first, other, "v0", capture=CAPTURE)
            with Recorder(net, first) as again:  # what it has left is free
                again.wait_capturing("v0")


@pytest.mark.fault(40)
def test_a_mount_that_is_missing(net: Namespace, tmp_path: Path) -> None:
    """Not a byte below its mount point: at the start, and when it vanishes under a run."""
    need("mount", "umount", "mkfs.ext4", "nsenter")
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 64 * MIB) as disk:
        config = write_config(
            tmp_path / "capd.toml",
            disk.path,
            "v0",
            storage="require_mount = true",
            capture=CAPTURE,
        )
        with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
            capd.wait_capturing("v0")
            source.inject_at(10_000, 5_000)
            detach(capd.pid, disk.path)
            source.inject_at(10_000, 20_000)
            capd.wait_line(f"ERROR .*v0: {disk.path}/v0 is gone: its disk was unmounted")
            # Another worker opens the folder anew.
            subprocess.run(["kill", "-9", str(capd.worker())], check=True)
            capd.wait_line("ERROR .*v0: cannot use .*: it is on the root file system, and require")
            source.inject_at(10_000, 5_000)
            below = Path(f"/proc/{capd.pid}/root{disk.path}")
            assert list(below.iterdir()) == []
            capd.stop(30)
            assert capd.summary("v0").received == 30_000
    place = tmp_path / "disk-ext4"
    with Recorder(net, config) as capd:
        assert capd.wait(20) == 2
        assert any("is on the root file system, and require_mount is set" in x for x in capd.lines)
    assert list(place.iterdir()) == []
