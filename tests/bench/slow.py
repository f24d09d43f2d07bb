"""A slow disk: a file system in a loop device whose writes the kernel's block layer holds back.

The limit is that of the control groups, blkio of version 1 (which writes that come out of the page
cache have as well) or io.max of version 2, for which this process goes into a group of its own
meanwhile.  Whether it holds is measured: what dd writes has to take as long as it must.

The device goes past the page cache to its own file: else whoever goes past the page cache to the
device would be there nevertheless.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench import machine
from tests.support.disk import mounted

_PROBE = 0.5  # seconds that writing past the page cache has to take at the limit
_HOLDS = 0.7  # of that, as the first part is let through at once


@contextmanager
def slow_disk(below: Path, size: int, rate: int) -> Iterator[Path]:
    """A directory on one of `size` bytes that takes `rate` bytes a second, and no more."""
    with mounted("ext4", below, size) as disk, _limited(disk.path, rate):
        _go_past_the_page_cache(disk.path)
        took = machine.write_direct(disk.path, int(rate * _PROBE)).seconds
        if took < _PROBE * _HOLDS:
            sys.exit(f"no slow disk here: what takes {_PROBE} s at the limit took {took:.2f} s")
        yield disk.path


def _go_past_the_page_cache(path: Path) -> None:
    loop = f"/dev/loop{os.minor(os.stat(path).st_dev)}"
    subprocess.run(["losetup", "--direct-io=on", loop], check=True)


@contextmanager
def _limited(path: Path, rate: int) -> Iterator[None]:
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    old = _mounted_at("cgroup", "blkio")
    if old is not None:
        limit = old / "blkio.throttle.write_bps_device"
        limit.write_text(f"{number} {rate}")
        try:
            yield
        finally:
            limit.write_text(f"{number} 0")
        return
    new = _mounted_at("cgroup2", "")
    if new is None:
        sys.exit("no slow disk here: neither blkio nor version 2 of the control groups is mounted")
    with _in_group(new, f"{number} wbps={rate}"):
        yield


@contextmanager
def _in_group(top: Path, limit: str) -> Iterator[None]:
    """This process, and whom it starts, are in a group with this limit meanwhile."""
    line = next(line for line in _lines("/proc/self/cgroup") if line.startswith("0::"))
    home = top / line.removeprefix("0::/")
    # With memory, what the page cache writes later is its writer's, too.
    (top / "cgroup.subtree_control").write_text("+io +memory")
    group = top / f"capd-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "io.max").write_text(limit)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (home / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        with suppress(OSError):  # somebody is still on the way out; it holds nothing
            group.rmdir()


def _mounted_at(kind: str, controller: str) -> Path | None:
    """Where the control groups of this kind are mounted, with this controller if it is named."""
    for line in _lines("/proc/self/mountinfo"):
        mount, _, about = line.partition(" - ")
        found, _, options = about.split(" ", 2)  # proc(5)
        if found == kind and (not controller or controller in options.split(",")):
            return Path(mount.split()[4])
    return None


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
