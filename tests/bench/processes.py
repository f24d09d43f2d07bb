"""What a program and its children have used: CPU time to the microsecond, memory."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CPU_CLOCK = 2  # CPUCLOCK_SCHED, all threads, ended ones too: clock_getcpuclockid(3)
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PARENT, _CHILDREN_USER, _CHILDREN_SYSTEM = 1, 13, 14  # /proc/PID/stat behind the name


def tree(root: int) -> list[int]:
    """A process and all below it."""
    children = defaultdict(list)
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        with suppress(FileNotFoundError, ProcessLookupError):
            children[int(_stat(pid)[_PARENT])].append(pid)
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree so far, with the children that have ended."""
    total = 0.0
    for pid in tree(root):
        with suppress(OSError):  # it has ended meanwhile
            total += time.clock_gettime((~pid << 3) | _CPU_CLOCK)
            fields = _stat(pid)
            total += (int(fields[_CHILDREN_USER]) + int(fields[_CHILDREN_SYSTEM])) * _TICK
    return total


def own_memory(root: int) -> int:
    """Bytes that a process tree has to itself: neither files, nor libraries, nor the ring."""
    total = 0
    for pid in tree(root):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return total * 1024


def wait_until_quiet(root: int, window: float, share: float = 0.02, timeout: float = 120) -> None:
    """Until a process tree has used less than `share` of a CPU for `window` seconds."""
    deadline = time.monotonic() + timeout
    before = cpu_seconds(root)
    for now in _every(window, deadline):
        used, before = cpu_seconds(root) - before, cpu_seconds(root)
        if used < share * window:
            return
        if now >= deadline:
            raise TimeoutError(f"process {root} is still busy after {timeout:g} s")


def reap(pid: int) -> tuple[int, float]:
    """Wait for the end of a child: its exit status, the CPU seconds it and its children used."""
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def _every(seconds: float, deadline: float) -> Iterator[float]:
    while True:
        time.sleep(seconds)
        yield min(time.monotonic(), deadline)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
