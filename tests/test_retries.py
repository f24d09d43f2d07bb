"""What fails for ever keeps nothing else from being done; and what failed once keeps its place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from capd.archive.backlog import Backlog
from capd.archive.gate import Gate
from capd.archive.mover import AT_ONCE, Mover
from capd.archive.retries import Retries
from capd.catalog import RingFiles, Segment
from capd.events import Kind
from capd.names import INDEX_SUFFIX, SEGMENT_SUFFIX
from capd.units import SECOND
from tests.support.archive import plan

HOUR = 3600 * SECOND


class Clock:
    """Shows what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = SECOND
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def segments(count: int, *suffixes: str) -> dict[str, RingFiles]:
    found = (suffixes, True)
    return {
        "v0": RingFiles([Segment("v0", n, n, 4096, "2026-01-01", *found) for n in range(count)])
    }


def test_segments_that_cannot_be_read(tmp_path: Path, clock: Clock) -> None:
    """The others are indexed, within an hour although each error is a pause for all."""
    bad, made, backlog = range(12), plan(tmp_path), Backlog()
    backlog.renew(segments(20, SEGMENT_SUFFIX), made)
    done: list[int] = []
    while clock.now < HOUR and len(done) < 8:
        clock.now += SECOND
        job = backlog.take(made, 0)
        if job is not None and job.segment.seq in bad:
            backlog.failed(job)
        elif job is not None:
            backlog.done(job)
            done.append(job.segment.seq)
    assert done == [*range(12, 20)]


def test_more_that_cannot_move_than_are_looked_at(tmp_path: Path, clock: Clock) -> None:
    """The others move."""
    bad = AT_ONCE + 6
    made = plan(tmp_path, compress=False, second=str(tmp_path / "second"))
    mover = Mover(made, Backlog(), Gate(), lambda *_, **__: None)
    mover.reserve = 0
    rings = segments(bad + 3, SEGMENT_SUFFIX, SEGMENT_SUFFIX + INDEX_SUFFIX)
    done: list[int] = []
    while clock.now < 3 * HOUR and len(done) < 2:
        clock.now += 5 * SECOND
        mover.renew(rings)
        segment = mover._first()
        if segment is not None and segment.seq < bad:
            mover._fail(segment, "Operation not permitted")
        elif segment is not None:
            mover._drop(segment)
            done.append(segment.seq)
            rings["v0"].segments.remove(segment)
    assert done == [bad, bad + 1]


def test_one_that_cannot_move_is_no_news_each_time(tmp_path: Path, clock: Clock) -> None:
    """Others move all the time; that the second directory works again is told when it did not."""
    made = plan(tmp_path, compress=False, second=str(tmp_path / "second"))
    said: list[Kind] = []
    mover = Mover(made, Backlog(), Gate(), lambda kind, *_, **__: said.append(kind))
    mover.reserve = 0
    rings = segments(9, SEGMENT_SUFFIX, SEGMENT_SUFFIX + INDEX_SUFFIX)
    stuck, *others = rings["v0"].segments
    for other in others[:6]:
        clock.now += HOUR
        mover.renew(rings)
        mover._fail(stuck, "Operation not permitted")
        mover._drop(other)
        rings["v0"].segments.remove(other)
    assert said == [Kind.CANNOT_MOVE, Kind.MOVES_AGAIN, Kind.CANNOT_MOVE]
    mover._drop(stuck)
    assert said[3:] == [Kind.MOVES_AGAIN]


def test_after_an_error_of_the_disk(clock: Clock) -> None:
    """The oldest comes first again."""
    keys, retries = [("v0", n, n) for n in range(4)], Retries()

    def first() -> int:
        ready = [one for one in keys if retries.may_try(one, clock.now)]
        return min(ready, key=retries.comes_last)[1]

    for expected in (0, 1, 2):
        assert first() == expected
        retries.failed(keys[expected])
        clock.now += HOUR
    assert first() == 3
    retries.went_well(keys.pop())
    assert not retries.is_pause(clock.now)
    assert first() == 0
    retries.failed(keys[0])
    clock.now += HOUR
    assert first() == 1
