"""Until when a ring was captured before this daemon opened it anew.

It takes a look at the names of all segments, on a disk that may hang: a thread does it, and the
ring's own worker may have begun there meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from capd.captured import captured_until


class NewRing(NamedTuple):
    """One that this daemon has opened."""

    interface: str
    directory: str
    name: str
    born: int  # ns since 1970
    cause: str  # of what was not captured before


class LastSeen(threading.Thread):
    """Of one daemon; nothing waits for it."""

    def __init__(self) -> None:
        super().__init__(name="last-seen", daemon=True)
        self._asked = SimpleQueue[NewRing]()
        self._found = SimpleQueue[tuple[NewRing, int]]()

    def ask(self, ring: NewRing) -> None:
        """Find out until when it was captured before."""
        self._asked.put(ring)
        self._begin()

    def found(self) -> Iterator[tuple[NewRing, int]]:
        """What has been found since this was asked: rings, and until when they were captured."""
        if not self._asked.empty():
            self._begin()
        with suppress(Empty):
            while True:
                yield self._found.get_nowait()

    def run(self) -> None:
        """The thread."""
        while True:
            ring = self._asked.get()
            until = captured_until(ring.directory, ring.name, ring.born)
            if until is not None:
                self._found.put((ring, until))

    def _begin(self) -> None:
        if self.ident is None:
            with suppress(RuntimeError):  # no thread can be started now
                self.start()
