"""The thread that moves finished segments to the second, slower directory, the oldest first.

A thread of its own: a second directory that hangs, as one behind a network may, is not to keep
segments from being indexed and compressed.  The daemon tells what must stay free there, deletes
there by that directory's rules, and makes room for what is `wanted`.  The newest segment of a
ring stays: its number must be found in the first directory.  How one segment is moved is
`moving.py`'s business.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Iterator

from capd.archive import cleaning
from capd.archive.backlog import Backlog, key
from capd.archive.compressor import MismatchError
from capd.archive.folder import opened, remove_empty
from capd.archive.gate import Gate, LeavingError
from capd.archive.keeping import read_index
from capd.archive.moving import move, shelf
from capd.archive.recovery import Tell
from capd.archive.retries import Key, Retries
from capd.catalog import RingFiles, Segment
from capd.errors import NO_ROOM, StorageError
from capd.events import Kind
from capd.messages import ArchivePlan
from capd.names import SEGMENT_SUFFIX
from capd.units import SECOND, format_count, format_size

WAIT = 1.0  # s, while there is nothing to do
PATIENCE = 5 * SECOND  # for room to be made, before a word about it
AT_ONCE = 64  # of each ring, between two scans


class Mover:
    """Runs until the gate is left."""

    def __init__(self, plan: ArchivePlan, backlog: Backlog, gate: Gate, tell: Tell) -> None:
        self.plan = plan  # may be replaced
        self.reserve: int | None = None  # bytes that must stay free there; None: do not use it
        self.waiting = 0  # segments that are to be moved
        self.moved = self.moved_bytes = 0
        self.refused = 0  # times that there was no room, although the free space had said so
        self._backlog, self._gate, self._tell = backlog, gate, tell
        self._lock = threading.Lock()
        self._next: dict[Key, Segment] = {}  # the oldest first
        self._retries = Retries()
        self._short_since = 0  # monotonic ns
        self._tidy = ""  # the directory in which nothing half made is left
        self._troubles: set[str] = set()
        self._whys: dict[Key, str] = {}  # of those that failed the last time
        self._thread = threading.Thread(target=self._run, name="archive-mover", daemon=True)

    def start(self) -> None:
        """The thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread has not died."""
        return self._thread.is_alive()

    def leave(self, patience: float) -> bool:
        """Wait for it to end; False if it hangs."""
        self._gate.leave()
        self._thread.join(patience)
        return not self.alive

    @property
    def wanted(self) -> int:
        """Bytes that the next one takes."""
        with self._lock:
            return next((segment.size for segment in self._next.values()), 0)

    def renew(self, rings: dict[str, RingFiles]) -> None:
        """Another scan has seen all this."""
        found = [list(_movable(files, self.plan)) for files in rings.values()]
        with self._lock:
            self.waiting = sum(map(len, found))
            chosen = [list(self._chosen(segments)) for segments in found]
            oldest = heapq.merge(*chosen, key=lambda segment: segment.stamp)
            self._next = {key(segment): segment for segment in oldest}
            self._retries.forget(self._next)
            self._whys = {one: why for one, why in self._whys.items() if one in self._next}

    def _chosen(self, segments: list[Segment]) -> Iterator[Segment]:
        """What is to move before the next scan, and what has failed, in nobody's place."""
        left = AT_ONCE
        for segment in segments:
            last = self._retries.comes_last(key(segment))
            left -= not last
            if last or left >= 0:
                yield segment

    def _run(self) -> None:
        while True:
            try:
                self._gate.go_through()
                segment = self._first()
                if segment is None or not self._serve(segment):
                    self._gate.rest(WAIT)
            except LeavingError:
                return

    def _first(self) -> Segment | None:
        now = time.monotonic_ns()
        if self.reserve is None or self._retries.is_pause(now):
            return None
        with self._lock:
            ready = [one for one in self._next if self._retries.may_try(one, now)]
            first = min(ready, key=self._retries.comes_last, default=None)
            return None if first is None else self._next[first]

    def _serve(self, segment: Segment) -> bool:
        """False: there is nothing to do for a while."""
        if not self._backlog.reserve(segment):
            return False
        second = self.plan.second
        try:
            done = self._move(segment)
        except (MismatchError, StorageError) as error:
            return self._fail(segment, str(error))
        except OSError as error:
            if second == self.plan.second:  # else it says nothing of the one there is now
                self.refused += error.errno in NO_ROOM
            return self._fail(segment, error.strerror or str(error))
        finally:
            self._backlog.release(segment)
        if done:
            self._drop(segment)
        return done

    def _move(self, segment: Segment) -> bool:
        """False: there is no room for it yet."""
        plan, path = self.plan, os.path.dirname(segment.path)
        if not plan.second:  # since the last scan
            return True
        with (
            opened(plan.directory, path) as source,
            shelf(plan.second, path, require_mount=plan.second_require_mount) as place,
        ):
            if self._tidy != plan.second:  # by one that died, or after an error
                cleaning.tidy(plan.second)
                self._tidy = plan.second
            contents = None if source is None else read_index(source, segment.name)
            if source is None or contents is None:
                self._backlog.look_again(segment)
                return True
            reserve = self.reserve
            if reserve is None:  # since it was chosen
                return False
            if place.free < reserve + segment.size:
                self._be_short(segment)
                return False
            self._short_since = 0
            if move(source, place.folder, segment.name, contents, self._gate.go_through):
                self.moved += 1
                self.moved_bytes += segment.size
        remove_empty(plan.directory, path)
        return True

    def _drop(self, segment: Segment) -> None:
        with self._lock:
            self.waiting -= self._next.pop(key(segment), None) is not None
            self._retries.went_well(key(segment))
            self._whys.pop(key(segment), None)
            whys = self._whys.items()
            still = {why for one, why in whys if self._retries.is_stubborn(one)}
        if self._troubles - still:
            self._troubles &= still
            self._tell(Kind.MOVES_AGAIN, f"segments move to {self.plan.second} again")

    def _fail(self, segment: Segment, why: str) -> bool:
        with self._lock:
            self._retries.failed(key(segment))
            self._whys[key(segment)] = why
        self._tidy = ""
        self._complain(f"{segment.path} cannot move to {self.plan.second}: {why}", why)
        return False

    def _be_short(self, segment: Segment) -> None:
        now = time.monotonic_ns()
        self._short_since = self._short_since or now
        if now - self._short_since > PATIENCE:
            text = f"{self.plan.second} has no room for {segment.path}, {format_size(segment.size)}"
            self._complain(text, "no room")

    def _complain(self, text: str, why: str) -> None:
        """Once for each reason, until something could be moved that had to wait for it."""
        if why not in self._troubles:
            self._troubles.add(why)
            text += f"; {format_count(self.waiting)} segments stay in {self.plan.directory} so far"
            self._tell(Kind.CANNOT_MOVE, text)


def _movable(files: RingFiles, plan: ArchivePlan) -> Iterator[Segment]:
    """What nothing else is to be done to, but for the newest."""
    if not plan.second:
        return
    for segment in itertools.islice(files.segments, max(0, len(files.segments) - 1)):
        settled = segment.indexed and len(segment.suffixes) == 2
        if segment.own and settled and not (plan.compress and segment.suffix == SEGMENT_SUFFIX):
            yield segment
