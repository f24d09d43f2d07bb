"""Which files of dead runs are still to be salvaged, one after the other.

The daemon tells which; `salvage` does it.  What fails is tried again after a while.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Protocol

from capd.archive.salvage import Outcome, salvage
from capd.catalog import DIRECTORY
from capd.events import Kind
from capd.units import SECOND

RETRY = 60 * SECOND


class Tell(Protocol):
    """Has the daemon say something that a person should read, with facts for programs."""

    def __call__(
        self, kind: Kind, text: str, *, once: tuple[object, ...] = ..., **facts: int
    ) -> None: ...


class Recovery:
    """Of one directory."""

    def __init__(self, directory: str, tell: Tell) -> None:
        self._directory = directory
        self._tell = tell
        self._waiting: deque[tuple[int, str, int]] = deque()  # monotonic ns when due, ring, number

    def add(self, ring: str, seqs: tuple[int, ...]) -> None:
        """These `.part` files of a ring belong to nobody."""
        self._waiting.extend((0, ring, seq) for seq in seqs)

    @property
    def is_due(self) -> bool:
        """Whether there is one to be salvaged now."""
        return bool(self._waiting) and self._waiting[0][0] <= time.monotonic_ns()

    def step(self) -> None:
        """Salvage the next file, which is due."""
        _, ring, seq = self._waiting.popleft()
        outcome = self._salvage(ring, seq)
        if outcome.what == "failed":
            self._waiting.append((time.monotonic_ns() + RETRY, ring, seq))
        if outcome.what == "renamed":
            self._tell(Kind.RECOVERED, outcome.text, packets=outcome.packets, cut=outcome.cut)
        elif outcome.what == "set aside":
            self._tell(Kind.SEGMENT_DAMAGED, outcome.text)
        elif outcome.what in ("left alone", "failed"):
            self._tell(Kind.ARCHIVE_TROUBLE, outcome.text, once=("salvage", outcome.text))

    def _salvage(self, ring: str, seq: int) -> Outcome:
        try:
            top = os.open(self._directory, DIRECTORY)
            try:
                folder = os.open(ring, DIRECTORY, dir_fd=top)
            finally:
                os.close(top)
        except OSError as error:
            place = f"{self._directory}/{ring}"
            return Outcome("failed", "", 0, 0, f"cannot open {place}: {error.strerror}")
        try:
            return salvage(folder, ring, seq)
        finally:
            os.close(folder)
