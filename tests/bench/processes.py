"""What a program and its children have used: CPU time to the microsecond, memory."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_CPU_CLOCK = 2  # CPUCLOCK_SCHED, all threads, ended ones too: clock_getcpuclockid(3)
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PARENT, _CHILDREN_USER, _CHILDREN_SYSTEM = 1, 13, 14  # /proc/PID/stat behind the name


Helps = Callable[[list[str]], bool]  # whether a command line is not of the capturing itself


class Usage(NamedTuple):
    """What a process tree has used so far: seconds of user and system time, and bytes."""

    capturing: float
    helping: float  # by the helpers that run
    ended: float  # by those that are no more
    read: int  # by all of them

    @property
    def helped(self) -> float:
        """By all helpers."""
        return self.helping + self.ended

    @property
    def cpu(self) -> float:
        """By all."""
        return self.capturing + self.helped


def usage(roots: Iterable[int], helps: Helps) -> Usage:
    """Of processes and all below them; a child that has ended was a helper."""
    capturing = helping = ended = 0.0
    read = 0
    for pid in tree(*roots):
        with suppress(OSError):  # it has ended meanwhile
            own, reaped, took = _own_cpu(pid), _reaped_cpu(pid), _read_bytes(pid)
            if helps(_command_line(pid)):
                helping += own
            else:
                capturing += own
            ended += reaped
            read += took
    return Usage(capturing, helping, ended, read)


def tree(*roots: int) -> list[int]:
    """Processes and all below them."""
    children = defaultdict(list)
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        with suppress(FileNotFoundError, ProcessLookupError):
            children[int(_stat(pid)[_PARENT])].append(pid)
    found = [*roots]
    for pid in found:
        found += children[pid]
    return found


def memory(roots: Iterable[int]) -> int:
    """Bytes of PSS that process trees have, without the rings, which are the sockets'."""
    total = 0
    for pid in tree(*roots):
        with suppress(OSError):  # it has ended meanwhile
            total += mapped(pid)["Pss:"]
    return total


def mapped(pid: int) -> dict[str, int]:
    """Bytes of each kind ("Rss:", "Pss:", "Anonymous:", ...) that a process has, but for rings."""
    sizes: dict[str, int] = defaultdict(int)
    is_ring = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_ring = words[-1].startswith("socket:")
        elif words[-1] == "kB" and not is_ring:
            sizes[words[0]] += int(words[1]) * 1024
    return sizes


def wait_until_quiet(
    spent: Callable[[], float], window: float, share: float = 0.02, timeout: float = 120
) -> None:
    """Until less than `share` of a CPU was spent for `window` seconds."""
    deadline = time.monotonic() + timeout
    before = spent()
    for now in _every(window, deadline):
        after = spent()
        used, before = after - before, after
        if used < share * window:
            return
        if now >= deadline:
            raise TimeoutError(f"a recorder is still busy after {timeout:g} s")


def reap(pid: int) -> tuple[int, float]:
    """Wait for the end of a child: its exit status, the CPU seconds it and its children used."""
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def _every(seconds: float, deadline: float) -> Iterator[float]:
    while True:
        time.sleep(seconds)
        yield min(time.monotonic(), deadline)


def _own_cpu(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


def _reaped_cpu(pid: int) -> float:
    """Of all children that have ended, and of theirs."""
    fields = _stat(pid)
    return (int(fields[_CHILDREN_USER]) + int(fields[_CHILDREN_SYSTEM])) * _TICK


def _read_bytes(pid: int) -> int:
    """With those of the children that have ended."""
    line = Path(f"/proc/{pid}/io").read_text().splitlines()[0]
    return int(line.removeprefix("rchar: "))


def _command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
