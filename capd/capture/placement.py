"""On which processors the threads of this process run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress


class Placement:
    """Changes it, and back to what it was."""

    def __init__(self) -> None:
        self._any = os.sched_getaffinity(0)
        self._cpus: tuple[int, ...] = ()

    def put(self, cpus: tuple[int, ...]) -> None:
        """Have every thread run on these processors only; (): where it was allowed to at first.

        OSError when none of them can be used: then they run where they were allowed to at first.
        """
        if cpus == self._cpus:
            return
        self._cpus = cpus
        try:
            _put(cpus or self._any)
        except OSError:
            _put(self._any)
            raise


def _put(cpus: Iterable[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # it has ended since
            os.sched_setaffinity(int(thread), cpus)
