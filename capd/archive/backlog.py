"""What there is to do, and what comes first: found in what a scan saw, handed out to threads.

Segments without an index come first, the oldest before the others; then indexes that this
process has not seen are read once; then what was left raw under load is compressed.  What
failed is tried again later, ever less often, and behind all that; what is damaged, never again in
this process's life.  This module touches no file.
"""

from __future__ import annotations

import functools
import heapq
import threading
import time
from collections import Counter
from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple

from capd.archive.pace import level_for
from capd.archive.retries import Key, Retries
from capd.catalog import RingFiles, Segment, everything
from capd.messages import ArchivePlan
from capd.names import (
    COMPRESSED_SUFFIX,
    DAMAGED_SUFFIX,
    INDEX_SUFFIX,
    SEGMENT_SUFFIX,
    SegmentName,
)

_SET_ASIDE = (DAMAGED_SUFFIX,)


class Work(Enum):
    """What is done to a segment."""

    INDEX = auto()  # its data stay as they are
    COMPRESS = auto()
    SETTLE = auto()  # it is there raw and compressed
    CHECK = auto()  # whether its index can be used


class Job(NamedTuple):
    """One thing to do."""

    work: Work
    segment: Segment
    level: int = 0


def key(name: Segment | SegmentName) -> Key:
    """What all files of one segment share."""
    return name.ring, name.stamp, name.seq


class Backlog:
    """Used by all threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._fresh: dict[Key, Segment] = {}  # without an index, oldest first; those in work too
        self._unseen: dict[Key, Segment] = {}  # with an index that nobody has looked at
        self._raw: dict[Key, Segment] = {}  # left raw
        self._waiting: Counter[str] = Counter()  # how many of the fresh ones each ring has
        self._busy: set[Key] = set()
        self._seen: dict[str, int] = {}  # by ring: the highest number whose index was read
        self._useless: set[Key] = set()  # whose index cannot be used
        self._damaged: set[Key] = set()
        self._retries = Retries()
        self._compress = False  # whether what is raw is to be compressed

    @property
    def fresh(self) -> int:
        """Closed segments without an index."""
        return len(self._fresh)

    @property
    def most(self) -> int:
        """The same, of the ring that has the most: many rings are not a backlog."""
        return max(self._waiting.values(), default=0)

    @property
    def raw(self) -> int:
        """Segments that were left raw."""
        return len(self._raw)

    def renew(self, rings: dict[str, RingFiles], plan: ArchivePlan) -> None:
        """Another scan has seen all this."""
        with self._changed:
            self._forget(rings)
            self._compress = plan.compress
            open_ones = heapq.merge(  # oldest first, whatever the clock did within a ring
                *(self._unsettled(ring, files, plan) for ring, files in rings.items()),
                key=lambda segment: segment.stamp,
            )
            self._fresh, self._unseen, self._raw = {}, {}, {}
            for segment in open_ones:
                if key(segment) in self._damaged:
                    continue
                if _is_fresh(segment.suffixes) or key(segment) in self._useless:
                    self._fresh[key(segment)] = segment
                elif plan.compress and segment.suffix == SEGMENT_SUFFIX:
                    self._raw[key(segment)] = segment
                else:
                    self._unseen[key(segment)] = segment
            self._waiting = Counter(one.ring for one in self._fresh.values())
            self._changed.notify_all()

    def _unsettled(self, ring: str, files: RingFiles, plan: ArchivePlan) -> Iterable[Segment]:
        """What may be there to do; of most segments there is nothing, and they are many."""
        seen = self._seen.get(ring, -1)
        again = {seq for other, _, seq in self._useless | self._retries.failures if other == ring}
        return [
            one
            for one in files.segments
            if (one.seq > seen or _is_fresh(one.suffixes, plan.compress) or one.seq in again)
            and one.own
            and one.suffixes != _SET_ASIDE
        ]

    def _forget(self, rings: dict[str, RingFiles]) -> None:
        """What is gone."""
        if self._useless or self._damaged or self._retries.failures:
            known = {key(segment) for segment in everything(rings)}
            self._useless &= known
            self._damaged &= known
            self._retries.forget(known)

    def take(self, plan: ArchivePlan, timeout: float) -> Job | None:
        """The next thing to do; None if there is none for so many seconds."""
        with self._changed:
            job = self._next(plan)
            if job is None:
                self._changed.wait(timeout)
                job = self._next(plan)
            if job is not None:
                self._busy.add(key(job.segment))
            return job

    def done(self, job: Job) -> None:
        """It went well, or there was nothing to do."""
        with self._changed:
            self._retries.went_well(key(job.segment))
            self._useless.discard(key(job.segment))
            if job.work is Work.CHECK:
                ring = job.segment.ring
                self._seen[ring] = max(self._seen.get(ring, -1), job.segment.seq)
            self._drop(job)
            segment = job.segment
            if job.work is Work.INDEX and self._compress and segment.suffix == SEGMENT_SUFFIX:
                suffixes = (SEGMENT_SUFFIX, SEGMENT_SUFFIX + INDEX_SUFFIX)
                self._raw[key(segment)] = segment._replace(suffixes=suffixes)  # for quieter times

    def useless(self, job: Job) -> None:
        """Its index cannot be used, and is to be made anew."""
        with self._changed:
            self._drop(job)
            self._useless.add(key(job.segment))
            if key(job.segment) not in self._fresh:
                self._fresh[key(job.segment)] = job.segment
                self._waiting[job.segment.ring] += 1

    def damaged(self, job: Job) -> None:
        """It is not whole: leave it alone from now on."""
        with self._changed:
            self._drop(job)
            self._damaged.add(key(job.segment))

    def failed(self, job: Job) -> None:
        """Try again later; and nobody tries anything for a while."""
        with self._changed:
            self._retries.failed(key(job.segment))
            self._busy.discard(key(job.segment))

    def reserve(self, segment: Segment) -> bool:
        """Have nobody else work on it until it is released; False if somebody does."""
        with self._changed:
            free = key(segment) not in self._busy
            self._busy.add(key(segment))
            return free

    def release(self, segment: Segment) -> None:
        """Others may work on it."""
        with self._changed:
            self._busy.discard(key(segment))

    def look_again(self, segment: Segment) -> None:
        """It is not as the last scan saw it."""
        with self._changed:
            self._seen.pop(segment.ring, None)

    def while_idle(self, name: SegmentName) -> _Reserved:
        """A context in which nobody works on this segment; its value is False if somebody does."""
        return _Reserved(self._changed, self._busy, key(name))

    def _drop(self, job: Job) -> None:
        one = key(job.segment)
        self._busy.discard(one)
        if self._fresh.pop(one, None) is not None:
            self._waiting[job.segment.ring] -= 1
        self._unseen.pop(one, None)
        self._raw.pop(one, None)

    def _next(self, plan: ArchivePlan) -> Job | None:
        now = time.monotonic_ns()
        if self._retries.is_pause(now):
            return None
        level = level_for(self.most, plan.level) if plan.compress else None
        for last in (False, True):
            if (segment := self._first(self._fresh, now, last=last)) is not None:
                return _first_job(segment, level, useless=key(segment) in self._useless)
            if (segment := self._first(self._unseen, now, last=last)) is not None:
                return Job(Work.CHECK, segment)
            if level is None:
                continue
            if (segment := self._first(self._raw, now, last=last)) is not None:
                return Job(Work.COMPRESS, segment, level)
        return None

    def _first(self, segments: dict[Key, Segment], now: int, *, last: bool) -> Segment | None:
        ready = (
            segment
            for one, segment in segments.items()
            if one not in self._busy
            and self._retries.comes_last(one) is last
            and self._retries.may_try(one, now)
        )
        return next(ready, None)


class _Reserved:
    """Holds everybody off while something small is done about one segment."""

    def __init__(self, lock: threading.Condition, busy: set[Key], one: Key) -> None:
        self._lock, self._busy, self._one = lock, busy, one

    def __enter__(self) -> bool:
        self._lock.acquire()
        return self._one not in self._busy

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _first_job(segment: Segment, level: int | None, *, useless: bool) -> Job:
    if segment.suffix == COMPRESSED_SUFFIX:
        both = SEGMENT_SUFFIX in segment.suffixes
        settled = both and segment.indexed and not useless
        return Job(Work.SETTLE if settled else Work.INDEX, segment)
    if segment.suffix == SEGMENT_SUFFIX and level is not None:
        return Job(Work.COMPRESS, segment, level)
    return Job(Work.INDEX, segment)


@functools.cache
def _is_fresh(suffixes: tuple[str, ...], compress: bool = False) -> bool:  # noqa: FBT001, FBT002  cached
    """Whether files of such suffixes lack an index, or are both forms (or, if told, are raw)."""
    data = COMPRESSED_SUFFIX if COMPRESSED_SUFFIX in suffixes else suffixes[0]
    both = {SEGMENT_SUFFIX, COMPRESSED_SUFFIX} <= set(suffixes)
    return both or data + INDEX_SUFFIX not in suffixes or (compress and data == SEGMENT_SUFFIX)
