"""What who follows is told while it lasts, as nobody would hear of it before the end.

Where nothing comes, a silent link and one that nobody records look alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from capd.names import interface_of
from capd.query.edge import PATIENCE, Edge
from capd.query.present import doubt
from capd.query.sources import Wanted
from capd.units import format_time


class Vigil:
    """Over the rings that are wanted, at each turn of the edge."""

    def __init__(
        self, edge: Edge, wanted: Wanted, expected: Iterable[str], say: Callable[[str], None]
    ) -> None:
        """`expected`: interfaces of which it is told, too, that they are not recorded yet."""
        self._edge = edge
        self._wanted = wanted
        self._say = say
        self._recorded = set(expected)
        self._missed: set[str] = set()  # those that were told
        self._turn = -1
        self._heard_at = time.monotonic_ns()
        self._is_alone = False  # it was told that the daemon says nothing

    def look(self) -> None:
        """Tell what has changed."""
        if self._turn == self._edge.turn:
            return
        self._turn = self._edge.turn
        now = time.monotonic_ns()
        if not self._edge.is_silent:
            if self._is_alone:
                self._say("capd tells again what it records")
            self._heard_at, self._is_alone = now, False
            self._compare()
        elif not self._is_alone and now - self._heard_at > PATIENCE:
            why = doubt(self._edge.status)
            self._is_alone = why is not None
            if why is not None:
                self._say(f"what is recorded now is not known: {why}")

    def _compare(self) -> None:
        recorded = {interface_of(ring) for ring in self._edge.begun if self._wanted.has(ring)}
        gone = self._recorded - recorded
        for name in sorted(gone):
            when = format_time(self._edge.told_at)
            self._say(f"{name}: not recorded as of {when}; what comes once it is will be given")
        for name in sorted(self._missed & recorded):
            self._say(f"{name}: recorded again")
        self._missed = (self._missed | gone) - recorded
        self._recorded = recorded
