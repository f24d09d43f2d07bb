"""What the machine did while packets were captured, ten times a second, for the last minutes.

It costs next to nothing: files of /proc that stay open are read as they are, and only what
somebody asks for afterwards is taken apart.  What the workers measure themselves is in `gauge`.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from capd import descriptors

KEPT = 1000  # ticks, ten a second
_STALLED = re.compile(rb"some .*total=(\d+)")  # us, Documentation/accounting/psi.rst
_ROOM = 32 * 1024  # bytes of one read: most of these files give less ...
_PAGE = 2048  # ... and those that have more give about a page at a time

# The machine's, by the names under which a tick has them.
_FILES = {
    "softnet": "/proc/net/softnet_stat",
    "cpu": "/proc/pressure/cpu",
    "io": "/proc/pressure/io",
}


class Process(NamedTuple):
    """A worker at a moment, as the kernel tells it; b"": it is not there, or was not asked."""

    schedstat: bytes  # /proc/PID/schedstat
    stat: bytes  # /proc/PID/stat: only of one that has not run since the tick before

    @property
    def state(self) -> str:
        """A letter of proc(5): R runs, S waits, D waits for the disk, T is stopped; "" is gone."""
        if self.schedstat and not self.stat:
            return "R"
        return self.stat.rpartition(b") ")[2][:1].decode()

    @property
    def times(self) -> tuple[int, int]:
        """ns that it has run, and that it has waited for a processor."""
        ran, waited, *_ = *map(int, self.schedstat.split()), 0, 0
        return ran, waited


class Tick(NamedTuple):
    """A moment."""

    at: int  # ns since 1970
    machine: dict[str, bytes]
    workers: dict[str, Process]  # by ring, of those that are at work
    nics: dict[
        str, tuple[int | None, int | None]
    ]  # packets received and missed, by interface, at the newest look
    processors: bytes = b""  # /proc/stat; b"": not looked at

    def stalled(self, name: str) -> int | None:
        """ns in which something has waited for `cpu` or `io`; None: there is no PSI."""
        match = _STALLED.match(self.machine[name])
        return None if match is None else int(match[1]) * 1000


class History:
    """Ticks, and the files that they come from."""

    def __init__(self) -> None:
        self._ticks: deque[Tick] = deque(maxlen=KEPT)
        self._machine = {name: _opened(path) for name, path in _FILES.items()}
        self._processors = _opened("/proc/stat")
        self._workers: dict[int, tuple[int, int]] = {}  # by process id

    def take(
        self,
        workers: dict[str, int],
        nics: dict[str, tuple[int | None, int | None]],
        *,
        processors: bool = True,
    ) -> Tick:
        """Note how things are; `workers`: process ids by ring.

        `processors`: also how busy each one is, which takes as long as all the rest.
        """
        for gone in self._workers.keys() - workers.values():
            _close(self._workers.pop(gone))
        for pid in workers.values():
            if pid not in self._workers:
                schedstat, stat = map(_opened, (f"/proc/{pid}/schedstat", f"/proc/{pid}/stat"))
                self._workers[pid] = schedstat, stat
        tick = Tick(
            time.time_ns(),
            {name: _read(fd) for name, fd in self._machine.items()},
            {ring: self._process(ring, *self._workers[pid]) for ring, pid in workers.items()},
            nics,
            _read(self._processors) if processors else b"",
        )
        self._ticks.append(tick)
        return tick

    def _process(self, ring: str, schedstat: int, stat: int) -> Process:
        """Cold as they are, each of these files costs 20 us."""
        now = _read(schedstat)
        before = self._ticks[-1].workers.get(ring) if self._ticks else None
        ran = before is not None and now != before.schedstat
        return Process(now, b"" if ran else _read(stat))

    def softnet(self) -> bytes:
        """That file, as it is now."""
        return _read(self._machine["softnet"])

    def between(self, since: int, until: int) -> Iterator[Tick]:
        """The ticks in [since, until], ns since 1970."""
        return (tick for tick in self._ticks if since <= tick.at <= until)

    def close(self) -> None:
        """Let the files go."""
        for fds in (self._machine.values(), (self._processors,), *self._workers.values()):
            _close(fds)


def _opened(path: str) -> int:
    """A descriptor, or -1 where there is no such file, or none to spare."""
    try:
        return descriptors.open_to_measure(path)
    except OSError:
        return -1


def _read(fd: int) -> bytes:
    if fd < 0:
        return b""
    text = b""
    try:
        while more := os.pread(fd, _ROOM, len(text)):
            text += more
            if len(more) < _PAGE:
                break
    except OSError:  # the process is gone
        return b""
    return text


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
