"""The edge of what is recorded: how far open segments are settled, and until when all is there.

Both are told by the daemon's status file, every second.  A worker writes a block, and commits it;
of what is written and not committed nothing is read, because a worker that is killed in between is
followed by one that writes it anew.  Where the daemon says nothing, what it said last holds, and
packets of other rings wait for it no longer than PATIENCE.
"""

from __future__ import annotations

import os
import time

from capd.errors import StorageError
from capd.query.source import Key, Number, Source
from capd.query.sources import Sources
from capd.status import RingStatus, Status, read, staleness
from capd.units import SECOND

PATIENCE = 5 * SECOND  # ns
MARGIN = SECOND // 10  # ns by which the kernel may be late with a block
LOOK_EVERY = 0.05  # seconds
_LOOKS = 5  # until what files tell without the daemon is looked at, too


class Edge:
    """What is known of it at present; between two calls of `look` it stands still."""

    def __init__(self, status: str, directory: str, until: int) -> None:
        """`status`: the path of its file; `directory`: of captures; `until`: ns since 1970."""
        self.turn = 0  # of looks
        self.until = until
        self.is_over = False  # whether someone has had enough
        self.status = status
        self._status = StatusFile(status)
        self._directory = directory
        self._called = False
        self._looked_at = 0  # ns since 1970
        self._written_at = 0  # of the status that was taken last
        # by name: two where one succeeds the other; None: nobody tells
        self._rings: dict[str, list[RingStatus]] | None = None
        self._told: dict[Key, int] = {}  # bytes that were settled when they were told last
        self._unclear: dict[str, int] = {}  # by ring: since when nobody has told of its segment
        self._current: set[Number] | None = None  # what was being written at the last look
        self._held_at = 0  # by the monotonic clock
        self._was_told = False  # whether a daemon has ever recorded into the directory
        self.elsewhere = ""  # the directory into which the daemon records instead
        self._take(self._read())

    @property
    def patience(self) -> int:
        """A stamp in ns since 1970: for what is older at the last look, nobody waits any more."""
        return self._looked_at - PATIENCE

    @property
    def is_told(self) -> bool:
        """Whether a daemon records into the directory, and tells of it."""
        return bool(self._rings)

    @property
    def is_silent(self) -> bool:
        """Whether no daemon tells anything."""
        return self._rings is None

    @property
    def told_at(self) -> int:
        """When the last word was written, ns since 1970."""
        return self._written_at

    @property
    def begun(self) -> dict[str, int]:
        """By ring of which the daemon tells: since when it records it, in ns since 1970."""
        rings = self._rings or {}
        return {name: min(ring.since for ring in of_name) for name, of_name in rings.items()}

    def end(self, *_: object) -> None:
        """The handler of a signal: what is recorded by now is enough; the second time, at once.

        The third one does not even wait for who is to take what is being written.
        """
        if self.is_over:
            raise KeyboardInterrupt
        self.is_over, self._called = self._called, True
        self.until = min(self.until, time.time_ns())

    def look(self) -> None:
        """Wait for something new."""
        for _ in range(_LOOKS):
            if self.is_over:
                break
            time.sleep(LOOK_EVERY)
            status = self._read()
            if status is None or status.written_at != self._written_at:
                self._take(status)
                break
        self.turn += 1

    def fresh(self, sources: Sources) -> dict[str, list[Source]]:
        """What there is to read now and was not before: by ring, in order."""
        current = {
            (name, ring.segment)
            for name, rings in (self._rings or {}).items()
            for ring in rings
            if ring.segment is not None
        }
        alone = self._rings is None and time.monotonic_ns() - self._held_at > PATIENCE
        if current != self._current or alone:
            self._current, self._held_at = current, time.monotonic_ns()
            return sources.hold()
        found: dict[str, list[Source]] = {}
        for ring, seq in sorted(current):
            held = sources.hold_part(ring, seq)
            if held is not None:
                found.setdefault(ring, []).append(held)
        return found

    def settled(self, held: Source) -> int | None:
        """How many bytes of an open segment will stay as they are; None: all."""
        self._unclear.pop(held.ring, None)
        if _has_another_name(held):
            return None
        rings = self._rings.get(held.ring, []) if self._rings is not None else None
        told = [ring for ring in rings or () if ring.reported_at]
        if rings == []:
            if self._written_at >= held.found_at:
                return None
        elif told and all(_is_behind(ring, held) for ring in told):
            return None
        if self._rings is not None and all(ring.segment is None for ring in told):
            self._unclear[held.ring] = held.found_at
        told_now = (ring.segment_bytes for ring in told if ring.segment == held.seq)
        self._told[held.key] = next(told_now, self._told.get(held.key, 0))
        return self._told[held.key]

    def bound(self, name: str) -> int:
        """A stamp in ns since 1970: what of the ring is stamped before is not waited for any more.

        It is in settled bytes, or nobody knows when it will be.
        """
        if self._unclear.get(name, 0) > self.patience:
            return 0
        return max(self.patience, self.known(name))

    def known(self, name: str) -> int:
        """The same, as far as the daemon tells that all is in settled bytes.

        Where there is none, nobody drains a ring.
        """
        if self._rings is None:
            return self.patience
        bounds = [
            ring.reported_at - ring.flush_interval - MARGIN
            for ring in self._rings.get(name, ())
            if ring.phase == "running" and not ring.filled
        ]
        if len(bounds) < len(self._rings.get(name, ())):
            return 0
        return min(bounds, default=self._written_at)

    def _read(self) -> Status | None:
        self._looked_at = time.time_ns()
        return self._status.read()

    def _take(self, status: Status | None) -> None:
        self._rings = None
        if status is not None:
            self._written_at, self._rings = status.written_at, {}
            for ring in status.rings:
                if ring.directory == self._directory:
                    self._rings.setdefault(ring.ring, []).append(ring)
            self.elsewhere = ""
            if status.rings and not self._rings:
                self.elsewhere = status.rings[0].directory
                if self._was_told:  # a reload has moved it: nothing more comes here
                    self.until = min(self.until, status.written_at)
            self._was_told |= self.is_told


class StatusFile:
    """The daemon's last word, as long as it holds."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None  # which file was read last
        self._latest: Status | None = None

    def read(self) -> Status | None:
        """None where no daemon tells what it records."""
        try:
            found = os.stat(self._path)
            if (found.st_ino, found.st_mtime_ns) != self._seen:
                self._latest = read(self._path)
                self._seen = found.st_ino, found.st_mtime_ns
        except (OSError, StorageError):
            self._latest = self._seen = None
        status = self._latest
        if status is None or status.state == "starting":
            return None
        return None if staleness(status, time.time_ns()) is not None else status


def _is_behind(ring: RingStatus, held: Source) -> bool:
    """Whether its worker had nothing more to do with that segment when it told.

    A worker that has no file yet makes one: what was found later than that may be it.
    """
    if ring.segment is None:
        return ring.reported_at >= held.found_at
    return ring.segment > held.seq


def _has_another_name(held: Source) -> bool:
    """Whether it is finished, or deleted."""
    try:
        return os.stat(held.path).st_ino != os.fstat(held.data.fileno()).st_ino
    except OSError:
        return True
