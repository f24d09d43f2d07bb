"""Capture comes first: an extraction takes what nobody else wants, and stops while a ring fills."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import psutil

from capd.errors import StorageError
from capd.status import read, staleness

HIGH, LOW = 0.25, 0.1  # shares of a ring that wait: from the first on there is a pause, to the last
_NICE = 19
_LOOK_EVERY = 0.25  # seconds


def yield_to_all() -> None:
    """Make the thread that calls this the last to get a processor or the disk."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, _NICE)
    with contextlib.suppress(psutil.Error, OSError):  # a sandbox may refuse it
        psutil.Process(thread).ionice(psutil.IOPRIO_CLASS_IDLE)


class Courtesy:
    """Waits while a ring of a running daemon is filling."""

    def __init__(self, status: str) -> None:
        """`status`: the path of the daemon's status file; without one nobody waits."""
        self._status = status
        self._looked = 0.0

    def wait(self) -> None:
        """Go on when there is room in all rings."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        most = HIGH
        while self._filled() > most:
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
        return max((ring.filled for ring in status.rings), default=0.0)
