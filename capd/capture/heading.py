"""The header that segments are to have, and the block from which on they are to have it.

A filter is swapped on the ring while blocks of the filter before wait in it.  A segment whose
header names the filter before must not get packets of the new one, so it ends before the
first block that may hold any: one with a packet stamped since then, or that was opened after
the worker heard of it, whatever the clock says.  A header that says since when its filter is
in force bears packets from before: the block in which the filters met stands under that one,
and so does all that a worker finds that takes over, because nobody tells it which filters
were in force since the segment began.
"""

from __future__ import annotations

import time

from capd import pcapng
from capd.capture.window import SETTLE
from capd.messages import Source
from capd.units import SECOND

WORTH_WAITING = SECOND  # ns that the next segment may be late before the current one goes on
ROOM = 1 / 2  # share of the ring that may fill up meanwhile


class Heading:
    """One header, and where it begins."""

    def __init__(self, source: Source, block: int) -> None:
        """Blocks from number `block` on certainly are to stand under it."""
        self.content = pcapng.header(source)
        self.mark = pcapng.fingerprint(self.content)
        self.told = False  # whether it has been said that it comes too late
        self._block = block
        self._stamp = source.filter_since - SETTLE
        self._reached_at = 0  # monotonic ns

    def replace(self, before: Heading) -> None:
        """Begin where the header `before`, which no segment got, would have begun."""
        self._block = min(self._block, before._block)
        self._stamp = min(self._stamp, before._stamp)
        self._reached_at = before._reached_at
        self.told = before.told
        self.told = before.told

    @property
    def reached(self) -> bool:
        """Whether a block that must not stand under another header has been seen."""
        return self._reached_at > 0

    @property
    def worth_waiting(self) -> bool:
        """Whether that was so short a time ago that the block can wait for its segment."""
        return self.reached and time.monotonic_ns() - self._reached_at < WORTH_WAITING

    def begins(self, block: int, last: int) -> bool:
        """Whether this block, whose largest stamp is `last`, must stand under this header."""
        if not self.reached and (block >= self._block or last >= self._stamp):
            self._reached_at = time.monotonic_ns()
        return self.reached
