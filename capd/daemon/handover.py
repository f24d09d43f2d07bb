"""Which segment the [hook] command is run for next: pure; times are the caller's monotonic ns.

The oldest comes first, within a ring the lowest number.  After a failure nothing is begun for a
while, ever longer, and then one at a time until one is done: while what the command needs is away,
segments wait, and none is given up.  The same one is tried a few times before another gets a turn;
one that goes on failing after others were done is given up.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from capd.catalog import Segment
from capd.daemon.handed import Handed, ranges
from capd.units import SECOND

PAUSES = (2 * SECOND, 10 * SECOND, 30 * SECOND, 60 * SECOND)  # after so many failures in a row
TRIES = 4  # before another one gets a turn, or this one is given up

Key = tuple[str, int]  # ring and number


class Task(NamedTuple):
    """A finished segment, and the directory that it is in."""

    directory: str
    segment: Segment

    @property
    def key(self) -> Key:
        """What it is called wherever it is."""
        return self.segment.ring, self.segment.seq


class Failure(NamedTuple):
    """What comes after one."""

    tries: int  # of this segment so far
    given_up: bool
    pause: int  # ns for which nothing is begun


@dataclass
class _Tries:
    """Of one segment that failed."""

    count: int
    first: int  # how many others had been done when it failed first, and last
    last: int


class Handover:
    """Of one capture directory and the one to which its segments move."""

    def __init__(self, handed: Handed) -> None:
        self.handed = handed
        self.misses = False  # whether something is to be looked for once more
        self._ready: dict[Key, Task] = {}  # in the order in which they come
        self._open: set[Key] = {*handed.undone()}  # all that are finished, and not done with
        self._absent: set[Key] = set()  # of these, what the last whole look did not see
        self._undone: dict[str, set[int]] = {}  # numbers that it saw, by ring
        self._backwards: set[str] = set()  # rings whose highest number was too low
        self._busy: set[Key] = set()
        self._tries: dict[Key, _Tries] = {}
        self._fails = 0  # in a row
        self._rest_until = 0
        self._works = 0

    @property
    def waiting(self) -> int:
        """Finished segments that the command is not done for."""
        return len(self._open)

    @property
    def rings(self) -> set[str]:
        """Those of which anything is known."""
        return {*self.handed.rings, *(ring for ring, _ in self._open)}

    @property
    def running(self) -> int:
        """Those that it is run for."""
        return len(self._busy)

    @property
    def fails(self) -> bool:
        """Whether it failed the last time."""
        return self._fails > 0

    def renew(
        self,
        open_: Iterable[Key],
        ready: Iterable[Iterable[Task]],
        unclear: Collection[str] = (),
        *,
        whole: bool = True,
    ) -> list[Key]:
        """Another look has seen these, finished and not done with; gives those that are gone.

        `ready` to be handed over are some of them, by ring and in the order of their numbers.
        What one look does not see may be on its way from one name to another; two `whole` ones are
        believed, but none of a ring that is `unclear`, as something of it could not be read.
        """
        seen = set(open_)
        unseen = {key for key in self._open - seen if not self.handed.has(*key)}
        vanished = {key for key in unseen if key[0] not in unclear}
        idle = vanished - self._busy  # the others may be done yet
        gone = sorted(idle & self._absent) if whole else []
        self._absent = vanished.difference(gone) if whole else vanished & self._absent
        self._open = (seen | unseen).difference(gone)
        self.handed.waiting = {
            ring: ranges(sorted(seqs)) for ring, seqs in _by_ring(self._open).items()
        }
        self.misses = bool(idle.difference(gone))
        for key in gone:
            self._tries.pop(key, None)
        merged = heapq.merge(*ready, key=lambda task: task.segment.stamp)
        self._ready = {task.key: task for task in merged}
        return gone

    def tidy(self, present: dict[str, set[int]], unclear: Collection[str] = ()) -> None:
        """See which numbers there are of each ring; `renew` was told of the finished ones.

        Numbers that two looks have not seen are nothing's, and a ring whose numbers have begun
        anew has had none handed over.
        """
        waiting = _by_ring(self._open)
        for ring in self.handed.rings.keys() - set(unclear):
            seqs = present.get(ring, set())
            if max(seqs, default=0) < self.handed.last(ring):
                if ring in self._backwards:
                    self.handed.forget(ring)
                self._backwards ^= {ring}
                continue
            self._backwards.discard(ring)
            undone = seqs.union(waiting.get(ring, ()), self._undone.get(ring, ()))
            self.handed.all_but(ring, undone)
        for ring in unclear:
            present[ring] = present.get(ring, set()) | self._undone.get(ring, set())
        self._undone = present

    def next(self, now: int, parallel: int) -> Task | None:
        """What to begin now; no more than so many at once."""
        if len(self._busy) >= (1 if self._fails else parallel) or now < self._rest_until:
            return None
        first = None
        for key, task in self._ready.items():
            if key in self._busy:
                continue
            tries = self._tries.get(key)
            if tries is None or tries.count < TRIES or tries.last < self._works:
                return task
            first = first or task
        return first

    def begin(self, key: Key) -> None:
        """The command is run for it."""
        self._busy.add(key)

    def release(self, key: Key, *, absent: bool = False) -> None:
        """It was not run, or nobody knows: once more; if it is `absent`, once it is seen again."""
        self._busy.discard(key)
        if absent:
            self._ready.pop(key, None)

    def succeed(self, key: Key) -> bool:
        """It was done; whether it had failed the last time."""
        failed, self._fails, self._rest_until = self._fails > 0, 0, 0
        self._works += 1
        self._finish(key)
        return failed

    def fail(self, key: Key, now: int) -> Failure:
        """It was not done."""
        tries = self._tries.setdefault(key, _Tries(0, self._works, self._works))
        tries.count, tries.last = tries.count + 1, self._works
        pause = PAUSES[min(self._fails, len(PAUSES) - 1)]
        self._fails += 1
        self._rest_until = now + pause
        self._busy.discard(key)
        given_up = tries.count >= TRIES and tries.first < self._works
        if given_up:
            self._finish(key)
        return Failure(tries.count, given_up, pause)

    def _finish(self, key: Key) -> None:
        """Nothing more is to be done with it."""
        self.handed.add(*key)
        for found in (self._ready, self._tries):
            found.pop(key, None)
        for keys in (self._open, self._absent, self._busy):
            keys.discard(key)


def _by_ring(keys: Iterable[Key]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for ring, seq in keys:
        found.setdefault(ring, []).append(seq)
    return found
