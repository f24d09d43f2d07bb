"""The machine: what it is, and bringing it to the same state before every run."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

MIB = 2**20
_WINDOW = 2.0  # seconds
_OTHERS = 0.1  # share of one processor
_DIRTY = ("Dirty:", "Writeback:")
_CLEAN = 16 * MIB  # bytes: what an idle machine's own services keep dirty
_AT_REST = 0.3  # seconds without a discard
_PATIENCE = 60.0  # seconds: of a disk that others never leave alone


def describe(directory: Path) -> list[str]:
    """What a reader must know to compare these numbers with others."""
    cpu = next(line for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    words = ["findmnt", "-no", "FSTYPE,SOURCE,OPTIONS", "-T", str(directory)]
    mount = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = f"{os.cpu_count()} x {cpu.partition(': ')[2]}"
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return [
        f"{cores}, {memory:.0f} GiB, {system}, Linux {platform.release()}",
        f"{mount[0]} on {mount[1]} ({mount[2]})",
    ]


def settle_disk() -> None:
    """Write out what is in the page cache, so that no run pays for the one before.

    Nor for what that one deleted: mounted with discard, ext4 tells the disk after the commit, and
    a write waits meanwhile: 0.4 s for 3.5 GB, which is more than a ring holds at full speed.
    """
    os.sync()
    while dirty() > _CLEAN:
        time.sleep(0.05)
        os.sync()
    deadline = time.monotonic() + _PATIENCE
    since, before = time.monotonic(), _disks()
    while (now := time.monotonic()) - since < _AT_REST and now < deadline:
        time.sleep(0.02)
        disks = _disks()
        if disks.in_flight or disks.discards != before.discards:
            since, before = now, disks


def dirty() -> int:
    """Bytes in the page cache that the disk does not have yet."""
    return sum(_meminfo(name) for name in _DIRTY)


def wait_until_idle(patience: float) -> None:
    """Until nobody has used much of the processors for two seconds, or patience is at its end."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = _busy()
        time.sleep(_WINDOW)
        if _busy() - before < _WINDOW * _OTHERS:
            return


def warm_page_cache(directory: Path, size: int) -> None:
    """Write `size` bytes through the page cache and delete them.

    A virtual machine gives free memory back to its host within seconds and pays for every
    page that it takes again: 2 GiB cost 5 s of CPU cold and 0.4 s warm.  Without this the
    recorders that write through the page cache would be charged for that.
    """
    file = directory / "warm"
    block = bytes(MIB)
    with file.open("wb", buffering=0) as output:
        for _ in range(size // MIB):
            output.write(block)
        file.unlink()


class Written(NamedTuple):
    """What writing some bytes took: seconds, and seconds of CPU."""

    seconds: float
    cpu: float


def write_direct(directory: Path, size: int) -> Written:
    """What dd needs to write `size` bytes past the page cache: the floor."""
    file = directory / "floor"
    block = 4 * MIB
    words = [f"of={file}", "if=/dev/zero", "bs=4M", f"count={-(-size // block)}", "oflag=direct"]
    began = time.monotonic()
    dd = subprocess.Popen(["dd", *words], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(dd.pid, 0)
    dd.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    file.unlink()
    if dd.returncode:
        raise OSError(f"dd cannot write to {directory} with oflag=direct")
    return Written(seconds, usage.ru_utime + usage.ru_stime)


class _Disks(NamedTuple):
    in_flight: int
    discards: int


def _disks() -> _Disks:
    """What all block devices have to do, and the discards they have done since the start."""
    # Documentation/block/stat.rst: the 9th and the 12th of the fields
    stats = [stat.read_text().split() for stat in Path("/sys/block").glob("*/stat")]
    return _Disks(sum(int(stat[8]) for stat in stats), sum(int(stat[11]) for stat in stats))


def _busy() -> float:
    """Seconds of all processors together, since the start, in which they were not idle."""
    user, nice, system, *_ = map(int, _lines("/proc/stat")[0].split()[1:])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _meminfo(name: str) -> int:
    line = next(line for line in _lines("/proc/meminfo") if line.startswith(name))
    return int(line.split()[1]) * 1024


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
