"""Where a new hook begins."""

from __future__ import annotations

import time
from pathlib import Path

from capd.catalog import Catalog
from capd.config import Hook
from capd.daemon.outlook import Seen
from capd.daemon.porter import Porter, PorterPlan
from capd.names import SegmentName, part_name
from capd.spool import SEGMENT_CLOSED, Spool
from tests.support.laying import NOON, lay
from tests.support.wait import wait_for

SECOND = 10**9


def test_on_a_new_disk(tmp_path: Path) -> None:
    """Behind all that has moved to the second directory, and not with the oldest there."""
    first, second = tmp_path / "captures", tmp_path / "second"
    for seq in (1, 2, 3):
        lay(second, SegmentName("v0", NOON + seq * SECOND, seq), NOON + seq * SECOND)
    (first / "v0").mkdir(parents=True)
    (first / "v0" / part_name(4)).touch()
    spool = Spool(str(tmp_path))
    porter = Porter(spool)
    hook = Hook(segment_closed=("/bin/true",))

    def look() -> None:
        at = time.monotonic_ns()
        porter.look(*(Seen(at, str(one), Catalog(str(one)).scan(), frozenset()) for one in both))

    both = first, second
    porter.adjust(PorterPlan(str(first), str(second), compress=False, hook=hook))
    look()
    try:
        wait_for(lambda: porter.status, 10, "a look")
        assert porter.status is not None
        assert porter.status.waiting == 0
        lay(second, SegmentName("v0", NOON + 4 * SECOND, 4), NOON + 4 * SECOND)
        look()
        wait_for(lambda: spool.names(SEGMENT_CLOSED), 10, "an event")
        ((_, event),) = spool.waiting()
        assert event.facts["number"] == "4"
    finally:
        porter.end()
