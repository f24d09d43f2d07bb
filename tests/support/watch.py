"""Watching a disk while others use it."""

from __future__ import annotations

import os
import threading

from tests.support.disk import Disk


class LeastFree(threading.Thread):
    """Watches how much of a disk is free, many times a second."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.least = 2**63
        self._path = disk.path
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.005):
            space = os.statvfs(self._path)
            self.least = min(self.least, space.f_bavail * space.f_frsize)

    def end(self) -> int:
        """The least there was."""
        self._end.set()
        self.join()
        return self.least
