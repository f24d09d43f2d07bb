"""What every thread of the archive process passes between two sections: closed for a pause.

`leave` lets nobody pass any more; whoever comes then gets `LeavingError`, and drops what it made.
"""

from __future__ import annotations

import threading


class LeavingError(Exception):
    """The process ends: what was begun is not to be finished."""


class Gate:
    """Closed at first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = False
        self._leaving = False

    def set(self, *, paused: bool) -> None:
        """Close or open it."""
        with self._changed:
            self._open = not paused
            self._changed.notify_all()

    def leave(self) -> None:
        """For good."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()

    def rest(self, seconds: float) -> None:
        """Wait so long, whether it is open or not.  LeavingError if the process ends meanwhile."""
        with self._changed:
            if self._changed.wait_for(lambda: self._leaving, seconds):
                raise LeavingError

    def go_through(self) -> None:
        """Wait until it is open.  LeavingError instead if the process ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._leaving)
            if self._leaving:
                raise LeavingError
