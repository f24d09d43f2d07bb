"""What the reaper of one directory must leave alone, as the folder of holds has it.

It notices holds that were made, changed, released or removed, ends those whose time is over by a
clock that can be trusted, and says so.  The holds of the capture directory count in the second one
too, to which their segments move.  What was in force stays so while its file or the folder cannot
be read, or the folder is on another disk without it: one that is not mounted holds nothing.  For
the reaper's thread only, but for `summary`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from capd import hold_folder
from capd.catalog import RingFiles, Segment
from capd.daemon.trusted_clock import TrustedClock
from capd.errors import StorageError
from capd.events import Kind
from capd.held import Amount, Held
from capd.hold_folder import Doubt, Found, Signature
from capd.holds import Hold, describe
from capd.journal import tell
from capd.names import HOLD_FOLDER
from capd.units import format_time


class Summary(NamedTuple):
    """The holds in force, and what they keep in one directory."""

    holds: tuple[Hold, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    amount: Amount = Amount()


class Custody:
    """Of the segments in `directory`, by the holds in the capture directory `holds_in`."""

    def __init__(self, directory: str, holds_in: str, trusted: TrustedClock) -> None:
        self.summary = Summary()
        self.has_folder = True  # whether there was one when it was looked at, as far as is known
        self._directory, self._holds_in = directory, holds_in
        self._speaks = directory == holds_in  # one reaper tells of a hold, and ends it
        self._found = Found()  # as read last
        self._signature: Signature | None = None  # of that; None: it must be read
        self._device: int | None = None  # that it was on
        self._unreadable: Doubt | None = None  # the folder, since when it is
        self._unclear = False  # whether somebody was told that it is
        self._ended: set[str] = set()  # those whose end was told
        self._trusted = trusted
        self._held = Held(directory, ())

    @property
    def places(self) -> tuple[str, str]:
        """The directory, and that with the holds."""
        return self._directory, self._holds_in

    def look(self) -> bool:
        """See which holds are in force; gives whether they are others than before."""
        self._read()
        now = self._trusted.look(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        if self._speaks and (over := self._over(now)):
            self._end(over)
            self._read()
        over = self._over(now)
        holds = tuple(hold for hold in self._found.holds if hold not in over)
        doubts = self._found.doubts
        if self._unreadable is not None:
            doubts += (self._unreadable,)
        before = self.summary
        if (holds, doubts) == (before.holds, before.doubts):
            return False
        spans = [*(hold.span for hold in holds), *(doubt.span for doubt in doubts)]
        self._held = Held(self._directory, spans)
        self.summary = Summary(holds, doubts, before.amount)
        self._tell(before)
        return True

    @property
    def is_stale(self) -> bool:
        """Whether somebody has made or ended a hold since `look`."""
        if self._unreadable is not None:
            return False
        try:
            with hold_folder.opened(self._holds_in) as folder:
                now = frozenset() if folder is None else hold_folder.signature(folder)
        except StorageError:
            return True
        return now != self._signature

    def survey(self, rings: Mapping[str, RingFiles]) -> None:
        """See which segments there are, and how much of it is held."""
        self.summary = self.summary._replace(amount=self._held.look(rings))

    def keeps(self, segment: Segment) -> bool:
        """Whether a segment that was surveyed is held."""
        return self._held.keeps(segment)

    def _read(self) -> None:
        """Renew what was found, if there is something new."""
        try:
            with hold_folder.opened(self._holds_in) as folder:
                self.has_folder = folder is not None
                if folder is not None:
                    self._look_into(folder)
                elif any(self._found) or not self._speaks:
                    raise StorageError(f"cannot read the holds in {self._holds_in}: there is none")
                else:
                    self._signature = frozenset()
            self._unreadable = None
        except StorageError as error:
            self._signature = None
            if self._unreadable is None:
                path = f"{self._holds_in}/{HOLD_FOLDER}"
                self._unreadable = Doubt(path, str(error), time.time_ns())

    def _look_into(self, folder: int) -> None:
        """OSError; StorageError if this is not where the holds were."""
        signature, device = hold_folder.signature(folder), os.fstat(folder).st_dev
        same = signature == self._signature and device == self._device
        if same and not self._found.doubts:
            return
        found = hold_folder.read(folder, self._holds_in)
        if same:  # what could not be read, perhaps can be now
            known = {(one.path, one.why): one for one in self._found.doubts}
            doubts = tuple(known.get((one.path, one.why), one) for one in found.doubts)
            found = found._replace(doubts=doubts)
        missing = {hold.id for hold in self._found.holds} - {hold.id for hold in found.holds}
        if missing and device != self._device:
            raise StorageError(f"{self._holds_in} is on another disk than before")
        self._found = found._replace(holds=found.holds + tuple(self._unclear_holds(found)))
        self._signature, self._device = signature, device

    def _unclear_holds(self, found: Found) -> Iterator[Hold]:
        """Those that were in force, and whose files cannot be read as holds any more."""
        unclear = {doubt.path for doubt in found.doubts}
        for hold in self._found.holds:
            if hold_folder.path_of(self._holds_in, hold.id) in unclear:
                yield hold

    def _over(self, now: int) -> list[Hold]:
        return [hold for hold in self._found.holds if hold.is_over(now)]

    def _end(self, over: list[Hold]) -> None:
        """Say so, and remove their files: while that fails, they are over nevertheless."""
        with contextlib.suppress(StorageError), hold_folder.opened(self._holds_in) as folder:
            for hold in over:
                if hold.id not in self._ended:
                    self._ended.add(hold.id)
                    text = f"hold {hold.id} is over: it kept {describe(hold)}"
                    tell(Kind.HOLD_EXPIRED, text, hold=hold.id)
                if folder is not None:
                    hold_folder.remove(folder, hold.id)

    def _tell(self, before: Summary) -> None:
        """What is different now."""
        now = self.summary
        if self._speaks:
            for hold in before.holds:
                if hold not in now.holds and hold.id not in self._ended:
                    text = f"hold {hold.id} is not in force any more: it kept {describe(hold)}"
                    tell(Kind.HOLDS_CHANGED, text, hold=hold.id)
            for hold in now.holds:
                if hold not in before.holds:
                    text = f"hold {hold.id} is in force: it keeps {describe(hold)}"
                    tell(Kind.HOLDS_CHANGED, text, hold=hold.id)
        for doubt in now.doubts:
            # Of files the other reaper tells; and a new directory has no folder at first.
            ours = self._speaks or (doubt is self._unreadable and self._device is not None)
            if ours and doubt not in before.doubts:
                self._unclear = True
                text = f"{doubt.text}; nothing in {self._directory} that began before "
                text += f"{format_time(doubt.until)} is deleted until that is mended"
                tell(Kind.HOLD_UNCLEAR, text, path=doubt.path)
        if self._unclear and not now.doubts:
            self._unclear = False
            tell(Kind.HOLDS_CHANGED, f"it is clear again what is held in {self._directory}")
