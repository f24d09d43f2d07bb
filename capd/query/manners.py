"""Capture comes first: an extraction takes what nobody else wants, and stops while a ring fills.

A disk that refuses writes keeps the ring at three quarters (`capture.writer`), whoever reads: then
what was recorded is wanted most, on another disk.  Packets that are given up tell of it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

import psutil

from capd.errors import StorageError
from capd.status import read, staleness

HIGH, LOW = 0.25, 0.1  # shares of a ring that wait: from the first on there is a pause, to the last
MOST_PAUSE = 10.0  # seconds: then one piece is read, as it is not reading that fills the ring
_SILENT = 3.0  # seconds
_NICE = 19
_LOOK_EVERY = 0.25  # seconds


def yield_to_all() -> None:
    """Make the thread that calls this the last to get a processor or the disk."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, _NICE)
    with contextlib.suppress(psutil.Error, OSError):  # a sandbox may refuse it
        psutil.Process(thread).ionice(psutil.IOPRIO_CLASS_IDLE)


class Courtesy:
    """Waits while a ring of a running daemon is filling, unless that does not help it."""

    def __init__(self, status: str, say: Callable[[str], None]) -> None:
        """`status`: the path of the daemon's status file; without one nobody waits.

        `say` is told, once, if it takes long.
        """
        self._status = status
        self._say = say
        self._has_said = False
        self._looked = 0.0
        self._given_up: int | None = None  # packets that no disk took, when it was told last
        self._in_vain_until = 0.0  # by the monotonic clock: until then a pause helps nobody

    def wait(self) -> None:
        """Go on when there is room in all rings, or waiting does not make any."""
        now = began = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        most = HIGH
        while (filled := self._filled()) > most:
            now = time.monotonic()
            if now < self._in_vain_until or now - began > MOST_PAUSE:
                break
            if now - began > _SILENT and not self._has_said:
                self._has_said = True
                self._say(f"a ring is full to {filled:.0%}: waiting for it, as capture comes first")
            most = LOW
            time.sleep(_LOOK_EVERY)
        self._looked = time.monotonic()

    def _filled(self) -> float:
        """The largest share of a ring that waits to be written."""
        try:
            status = read(self._status)
        except StorageError:
            return 0.0
        if staleness(status, time.time_ns()) is not None:
            return 0.0
        given_up = sum(ring.counters.disk for ring in status.rings)
        if self._given_up is not None and given_up > self._given_up:
            self._in_vain_until = time.monotonic() + MOST_PAUSE
        self._given_up = given_up
        return max((ring.filled for ring in status.rings), default=0.0)
