"""capd's processes in the machine, by what they do, and whether they stay as large as they are."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psutil

_MARKS = {
    "daemon": ("/usr/bin/capd", "run"),
    "worker": ("-m", "capd.capture"),
    "archive": ("-m", "capd.archive"),
    "exec": ("/usr/bin/capd", "exec"),
    "metrics": ("/usr/bin/capd", "metrics"),
}
_EVERY = 1.0
_YOUNG = 10.0  # seconds in which a process still grows to its size
_OLD = 40.0  # one that lived so long behind that is compared with itself, too
MIB = 2**20


class Bound(NamedTuple):
    """By how much a median may grow: a share, and so much in any case."""

    share: float
    more: int


BOUNDS = {
    "memory": Bound(0.25, 8 * MIB),
    "descriptors": Bound(0.0, 4),
    "threads": Bound(0.0, 2),
}


class Sample(NamedTuple):
    """One process at one moment."""

    at: float  # seconds since the start
    role: str
    pid: int
    memory: int  # bytes of its own: not the ring, which is the kernel's
    resident: int
    descriptors: int
    threads: int


def of(machine: int) -> Iterator[tuple[str, int]]:
    """The role and number of each, below the machine's first process."""
    for process in psutil.Process(machine).children(recursive=True):
        with suppress(psutil.Error):
            words = process.cmdline()
            pairs = list(pairwise(words))
            for role, mark in _MARKS.items():
                if mark in pairs:
                    yield role, process.pid


def writes(pid: int, folder: str) -> bool:
    """Whether a process has a file open in a folder of this name."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                if folder in os.readlink(f"/proc/{pid}/fd/{fd}"):
                    return True
    return False


class Samples:
    """Of all of them, again and again; `run` until `end`."""

    def __init__(self, machine: int) -> None:
        self.taken: list[Sample] = []
        self._machine = machine
        self._begun = time.monotonic()
        self._over = threading.Event()

    def run(self) -> None:
        """Sample."""
        while not self._over.wait(_EVERY):
            for role, pid in of(self._machine):
                with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                    self.taken.append(_sample(time.monotonic() - self._begun, role, pid))

    def end(self) -> None:
        """No more."""
        self._over.set()


def _sample(at: float, role: str, pid: int) -> Sample:
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    kib = {name: int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "VmRSS")}
    return Sample(
        *(at, role, pid, kib["RssAnon"], kib["VmRSS"]),
        *(len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"])),
    )


class Growth(NamedTuple):
    """A median in the first third, and in the last."""

    of: str
    what: str
    first: float
    last: float

    def __str__(self) -> str:
        return f"{self.of}: {self.what} grew from {self.first:,.0f} to {self.last:,.0f}"

    @property
    def allowed(self) -> bool:
        """Whether it stayed within its bound."""
        bound = BOUNDS[self.what]
        return self.last <= self.first * (1 + bound.share) + bound.more


def growths(samples: Iterable[Sample]) -> Iterator[Growth]:
    """Of each kind of process over the run, and of each that got old over its life.

    An old one may become as large as its kind was: it may have had less to do at first.
    """
    born: dict[int, float] = {}
    kinds: dict[str, list[Sample]] = {}
    lives: dict[tuple[str, int], list[Sample]] = {}
    for one in samples:
        born.setdefault(one.pid, one.at)
        if one.at - born[one.pid] >= _YOUNG:
            kinds.setdefault(one.role, []).append(one)
            lives.setdefault((one.role, one.pid), []).append(one)
    for what in BOUNDS:
        usual = {}
        for role, group in kinds.items():
            first, last = _thirds(group, what)
            usual[role] = first
            yield Growth(role, what, first, last)
        for (role, pid), life in lives.items():
            if life[-1].at - life[0].at >= _OLD:
                first, last = _thirds(life, what)
                yield Growth(f"{role} {pid}", what, max(first, usual[role]), last)


def _thirds(group: list[Sample], what: str) -> tuple[float, float]:
    """Medians in the first third, and in the last."""
    third = (group[-1].at - group[0].at) / 3
    first = [getattr(one, what) for one in group if one.at <= group[0].at + third]
    last = [getattr(one, what) for one in group if one.at >= group[-1].at - third]
    return statistics.median(first), statistics.median(last)
