"""One directory that holds segments, as the daemon looks after it.

It has a reaper of its own, told how fast segments come; and it says for the status how full the
disk is, how far back the segments go, and how far they can.
"""

from __future__ import annotations

import time
from collections import deque

from capd.daemon.reaper import Reaper, Territory
from capd.daemon.trusted_clock import TrustedClock
from capd.status import DiskStatus
from capd.units import SECOND

PATIENT = 600.0  # seconds over which the rate is averaged that tells how far the room goes


class Tier:
    """The capture directory, or the second one; only its own thread asks the disk anything."""

    def __init__(self, territory: Territory, trusted: TrustedClock) -> None:
        self.territory = territory
        self.reaper = Reaper(territory, trusted)
        self.reaper.start()
        self._samples: deque[tuple[float, int]] = deque()  # monotonic, bytes that had come
        self._shrunk = 1.0

    def adjust(self, territory: Territory) -> None:
        """Go on under these rules."""
        if territory != self.territory:
            self.territory = territory
            self.reaper.adjust(territory)

    def observe(
        self, come: int, *, refused: bool = False, wanted: int = 0, shrunk: float = 1.0
    ) -> None:
        """Bytes that have come so far, and whether the disk refused some; about once a second.

        `wanted`: bytes that are to come as soon as there is room.  `shrunk`: to what share those
        that came are compressed later.
        """
        now = time.monotonic()
        while self._samples and now - self._samples[0][0] > PATIENT:
            self._samples.popleft()
        then, before = self._samples[-1] if self._samples else (now - 1, come)
        self._samples.append((now, come))
        self._shrunk = shrunk
        # Whoever moves segments waits for the room that is wanted: nothing is to be run ahead of.
        rate = 0.0 if self.territory.second else (come - before) / max(now - then, 0.001)
        self.reaper.observe(rate, wanted, refused=refused)

    def end(self) -> None:
        """Delete nothing any more."""
        self.reaper.end()

    @property
    def status(self) -> DiskStatus | None:
        """What there is to know; None while the directory cannot be used, or is not looked at."""
        outlook, space = self.reaper.outlook, self.reaper.space
        if space is None:
            return None
        return DiskStatus(
            self.territory.directory,
            space.total,
            space.free,
            outlook.segments,
            outlook.bytes,
            min(outlook.oldest.values(), default=None),
            outlook.missing,
            self._reach(outlook.room),
            self.territory.policy.max_age,
        )

    def _reach(self, room: int) -> int | None:
        """ns for which this many bytes are enough at the rate of the last minutes."""
        if not self._samples:
            return None
        (began, before), (now, come) = self._samples[0], self._samples[-1]
        grown = (come - before) * self._shrunk
        return round(room * (now - began) / grown * SECOND) if grown else None
