"""What there is to do for the archive process, without a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from capd.archive.backlog import Backlog, Job, Work
from capd.archive.pace import NONE
from capd.catalog import RingFiles, Segment
from capd.messages import ArchivePlan
from capd.names import SEGMENT_SUFFIX
from tests.support.archive import plan

MANY = NONE + 3


def closed(number: int) -> Segment:
    """A segment that was just finished."""
    return Segment("v0", number, number, 4096, "2026-01-01", (SEGMENT_SUFFIX,), own=True)


def jobs(backlog: Backlog, made: ArchivePlan) -> Iterator[Job]:
    """All that there is to do, each of it done."""
    while (job := backlog.take(made, 0)) is not None:
        yield job
        backlog.done(job)


def renewed(made: ArchivePlan) -> Backlog:
    """After a look that found MANY."""
    backlog = Backlog()
    backlog.renew({"v0": RingFiles([closed(number) for number in range(MANY)])}, made)
    return backlog


def test_what_is_left_raw_is_known_at_once(tmp_path: Path) -> None:
    """Not only at the next look: an archive process with nothing to do has nothing left."""
    made = plan(tmp_path)
    backlog = renewed(made)
    done: list[Job] = []
    for job in jobs(backlog, made):
        assert backlog.fresh + backlog.raw == MANY - sum(one.work is Work.COMPRESS for one in done)
        done.append(job)
    early = [(Work.INDEX, number, False) for number in range(MANY - NONE)]
    fresh = [(Work.COMPRESS, number, False) for number in range(MANY - NONE, MANY)]
    late = [(Work.COMPRESS, number, True) for number in range(MANY - NONE)]
    assert [(one.work, one.segment.seq, one.segment.indexed) for one in done] == [
        *(*early, *fresh, *late)
    ]


def test_what_is_to_stay_raw_is_not_left(tmp_path: Path) -> None:
    """Without compression an index is all."""
    made = plan(tmp_path, compress=False)
    backlog = renewed(made)
    assert [job.work for job in jobs(backlog, made)] == [Work.INDEX] * MANY
    assert (backlog.fresh, backlog.raw) == (0, 0)
