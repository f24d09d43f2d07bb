"""What there is to do for the archive process, without a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from capd.archive.backlog import Backlog, Work
from capd.archive.pace import NONE
from capd.catalog import RingFiles, Segment
from capd.names import SEGMENT_SUFFIX
from tests.support.archive import plan

MANY = NONE + 3


def closed(number: int) -> Segment:
    """A segment that was just finished."""
    return Segment("v0", number, number, 4096, "2026-01-01", (SEGMENT_SUFFIX,), own=True)


@pytest.mark.parametrize("compress", [True, False])
def test_what_is_left_raw_is_known_at_once(tmp_path: Path, compress: bool) -> None:
    """Not only when it is looked for: an idle archive process has nothing left."""
    backlog, made = Backlog(), plan(tmp_path, compress=compress)
    backlog.renew({"v0": RingFiles([closed(number) for number in range(MANY)])}, made)
    works = []
    while (job := backlog.take(made, 0)) is not None:
        works.append((job.work, job.segment.seq))
        backlog.done(job)
        assert backlog.fresh + backlog.raw == MANY - sum(
            work is Work.COMPRESS or not compress for work, _ in works
        )
    left = [(Work.INDEX, number) for number in range(MANY if not compress else MANY - NONE)]
    rest = [(Work.COMPRESS, number) for number in range(MANY - NONE, MANY)]
    again = [(Work.COMPRESS, number) for number in range(MANY - NONE)]
    assert works == (left + rest + again if compress else left)
