"""Directories whose segments a porter hands over, without a daemon and without `capd exec`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capd.catalog import Catalog
from capd.config import Hook
from capd.daemon.outlook import Seen
from capd.daemon.porter import Porter, PorterPlan
from capd.names import SegmentName
from capd.spool import Spool
from tests.support.laying import NOON, lay
from tests.support.wait import wait_for

SECOND = 10**9


class Yard:
    """A capture directory, and a second one, where it is told."""

    def __init__(self, path: Path, second: str = "") -> None:
        self.first, self.second = path / "captures", path / second if second else None
        (self.first / "v0").mkdir(parents=True)
        self.spool = Spool(str(path))
        self.porter = Porter(self.spool)

    @contextmanager
    def begun(self, second: str = "") -> Iterator[Porter]:
        """With a hook, which has looked; segments move to `second`, where it is there or not."""
        hook = Hook(segment_closed=("/bin/true",))
        second = second or str(self.second or "")
        self.porter.adjust(PorterPlan(str(self.first), second, compress=False, hook=hook))
        self.look()
        try:
            wait_for(lambda: self.porter.status, 10, "a look")
            yield self.porter
        finally:
            self.porter.end()

    def look(self) -> None:
        """At both, as the reapers do."""
        second = None if self.second is None else self.seen(self.second)
        self.porter.look(self.seen(self.first), second)

    def seen(self, directory: Path) -> Seen:
        """As a reaper sees it now."""
        at, path = time.monotonic_ns(), str(directory)
        return Seen(at, path, Catalog(path).scan(), frozenset())

    def handed_over(self) -> list[str]:
        """The numbers of the segments that the command is to be run for."""
        return [event.facts["number"] for _, event in self.spool.waiting()]


def put(directory: Path, *seqs: int) -> None:
    """Finished segments of v0."""
    for seq in seqs:
        stamp = NOON + seq * SECOND
        lay(directory, SegmentName("v0", stamp, seq), stamp)
