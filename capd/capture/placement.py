"""On which processors the threads of this process run."""

from __future__ import annotations

import os


class Placement:
    """Changes it, and back to what it was."""

    def __init__(self) -> None:
        self._any = os.sched_getaffinity(0)
        self._cpus: tuple[int, ...] = ()

    def put(self, cpus: tuple[int, ...]) -> None:
        """Have every thread run on these processors only; (): where it was allowed to at first.

        OSError when none of them can be used.
        """
        if cpus == self._cpus:
            return
        self._cpus = cpus
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), cpus or self._any)
