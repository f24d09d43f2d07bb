"""The daemon's hand on the ledger: whoever has a record gives it here and goes on.

A thread writes, so that a slow disk holds up nobody.  What a full or missing disk does not take
waits in memory, up to a number, and is tried again; that it waits is told once, and once that it
waits no more.  Nothing here raises for the disk's sake: the journal has every record as well.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from capd.daemon import ledger_folder
from capd.daemon.ledger_folder import Place
from capd.errors import StorageError
from capd.events import Kind
from capd.journal import tell
from capd.losses import Loss
from capd.names import LEDGER_FOLDER
from capd.units import format_count

HELD = 10_000  # records that wait for the disk: the newest
HELD_SAMPLES = 32  # files with samples that do
RETRY = 5.0  # seconds
PATIENCE = 2  # times that the disk may refuse before somebody is told
RECALLED = 256 * 1024  # bytes at the end of the file that are read at the start

Samples = Sequence[Mapping[str, Any]]


class Book(threading.Thread):
    """Of one daemon; it begins with `adjust`, and what is noted before waits."""

    def __init__(self, retry: float = RETRY, told_before: Sequence[Loss] = ()) -> None:
        """`told_before`: the newest of the daemon before, whom the disk may have refused some."""
        super().__init__(name="book", daemon=True)
        self._retry = retry
        self._told_before = told_before
        self._changed = threading.Condition()  # guards all that follows, but for the last
        self._place: Place | None = None
        self._records: deque[Loss] = deque()
        self._samples: deque[tuple[str, Samples]] = deque()
        self._recalled: list[Loss] | None = None
        self._given_up = 0  # records that were too many, since the disk refuses
        self._refusals = 0  # in a row
        self._busy = False
        self._due = False
        self._ended = False
        self._said = False  # that the disk refuses; the thread's own

    def adjust(self, directory: str, *, require_mount: bool) -> None:
        """Write to the ledger of this capture directory from now on."""
        place = Place(directory, require_mount)
        with self._changed:
            if place == self._place:
                return
            self._place, self._refusals = place, 0
            self._wake()
        if self.ident is None:
            self.start()

    def note(self, loss: Loss) -> None:
        """Put it on record."""
        with self._changed:
            self._records.append(loss)
            self._limit()
            self._wake()

    def save(self, name: str, samples: Samples) -> None:
        """Keep these samples under a name that `ledger.samples_name` gave."""
        with self._changed:
            self._samples.append((name, samples))
            self._limit()
            self._wake()

    def recall(self) -> list[Loss]:
        """The newest records from before this daemon; once, and as soon as they are read."""
        with self._changed:
            if not self._recalled:
                return []
            found, self._recalled = self._recalled, []
            return found

    def settle(self, seconds: float) -> bool:
        """Whether all is on the disk: waited for no longer than this, nor while it refuses."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._refusals) or not self._waiting, seconds)
            return not self._waiting

    def end(self, seconds: float) -> None:
        """Write what waits, for no longer than this."""
        with self._changed:
            self._ended = True
            self._wake()
        if self.ident is not None:
            self.join(seconds)

    def run(self) -> None:
        """The thread."""
        while True:
            with self._changed:
                # What comes while the disk refuses waits with the rest for the next try.
                wait = self._retry if self._refusals else None
                self._changed.wait_for(self._is_called, wait)
                self._due = False
                place, ended = self._place, self._ended
            if place is not None:
                self._turn(place)
            if ended:
                return

    @property
    def _waiting(self) -> bool:
        return bool(self._records or self._samples or self._busy)

    def _is_called(self) -> bool:
        return self._ended or (self._due and not self._refusals)

    def _wake(self) -> None:
        self._due = True
        self._changed.notify_all()

    def _limit(self) -> None:
        while len(self._records) > HELD:
            self._records.popleft()
            self._given_up += 1
        while len(self._samples) > HELD_SAMPLES:
            self._samples.popleft()

    def _turn(self, place: Place) -> None:
        """Read what has not been read, write what waits, say what has changed."""
        with self._changed:
            records, self._records = self._records, deque()
            samples, self._samples = self._samples, deque()
            self._busy = True
        refusal, count = "", len(records)
        try:
            self._write(place, records, samples)
        except OSError as error:
            refusal = error.strerror or str(error)
        except StorageError as error:
            refusal = str(error)
        with self._changed:
            self._records.extendleft(reversed(records))
            self._samples.extendleft(reversed(samples))
            self._limit()
            self._busy = False
            self._refusals = self._refusals + 1 if refusal else 0
            waiting = len(self._records) + len(self._samples)
            self._changed.notify_all()
        if refusal:
            self._complain(place, refusal, waiting)
        elif self._said:
            self._reassure(place, count)

    def _write(
        self, place: Place, records: deque[Loss], samples: deque[tuple[str, Samples]]
    ) -> None:
        """Take out of these what is written.  OSError, StorageError."""
        if self._recalled is None:
            found = ledger_folder.newest(place, RECALLED)
            missing = [one for one in self._told_before if one not in found]
            records.extendleft(reversed(missing))
            with self._changed:
                self._recalled = [*found, *missing]
        if not records and not samples:
            return
        with ledger_folder.opened(place) as folder:
            if records:
                folder.append(records)
                records.clear()
            while samples:
                folder.save(*samples[0])
                samples.popleft()

    def _complain(self, place: Place, refusal: str, waiting: int) -> None:
        if self._said or not waiting or (self._refusals < PATIENCE and not self._ended):
            return
        self._said = True
        text = (
            f"cannot write to {place.directory}/{LEDGER_FOLDER}: {refusal}; records of losses "
            "wait in memory until it can be written to, and are in the journal"
        )
        tell(Kind.LEDGER_REFUSED, text, directory=place.directory, records=waiting)

    def _reassure(self, place: Place, count: int) -> None:
        self._said = False
        with self._changed:
            given_up, self._given_up = self._given_up, 0
        text = f"{place.directory}/{LEDGER_FOLDER} is written to again: {format_count(count)} "
        text += f"record{'' if count == 1 else 's'} that waited"
        if given_up:
            text += f"; {format_count(given_up)} older ones were too many, and are not in it"
        directory = place.directory
        tell(Kind.LEDGER_RECOVERED, text, directory=directory, records=count, given_up=given_up)
