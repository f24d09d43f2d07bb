"""The books of a soak: what was sent, what was found where, and what is owed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager

from tests.soaking import reader
from tests.soaking.accounts import Account, Run, size
from tests.soaking.copies import Copies, Copy
from tests.soaking.extracts import Extract, Extracts
from tests.soaking.log import Log
from tests.soaking.reader import STREAMS, Reading
from tests.soaking.senders import Sender
from tests.soaking.settings import INTERFACES

DUE = 45.0  # seconds after which a frame must be in a finished segment
_THOROUGH = 4  # every fourth segment is read by tshark, too, and those below this size
_SMALL = 2**20
_INTERRUPTED = (0, 3, -2, 130)  # 3: something is missing, and was told
_KILLED = (-9, 137)


class Books:
    """One account for each interface; readers put in it what they find."""

    def __init__(self, log: Log, pool: ProcessPoolExecutor, senders: list[Sender]) -> None:
        self.accounts = [Account(stream.first) for stream in STREAMS]
        self.segments = 0  # files that were read, like the following
        self.thorough = 0
        self.extracted = 0  # frames
        self.incomplete = 0  # extractions that say that something is missing
        self._log = log
        self._pool = pool
        self._senders = senders
        self._open: list[tuple[float, Copy | Extract, Future[Reading]]] = []
        self._given: list[tuple[Extract, int, list[Run]]] = []
        self._overdue: set[int] = set()

    @property
    def waiting(self) -> int:
        """Files that are still to be read."""
        return len(self._open)

    def collect(self, copies: Copies, extracts: list[Extracts]) -> None:
        """Have read what is new."""
        while copies.found:
            copy = copies.found.pop(0)
            thorough = copy.path.stat().st_size < _SMALL or self.segments % _THOROUGH == 0
            self.segments += 1
            self.thorough += thorough
            self._submit(copy, thorough=thorough)
        while copies.disorder:
            self._log.problem(copies.disorder.pop(0))
        for one in extracts:
            while one.done:
                self._take(one.done.pop(0))

    def _take(self, extract: Extract) -> None:
        if extract.code in _KILLED:
            extract.path.unlink()
        elif extract.code in _INTERRUPTED:
            self.incomplete += extract.code == 3
            self._submit(extract, thorough=False)
        elif "/etc/capd.toml: " not in extract.said:  # it read a config that is bad on purpose
            self._log.problem(f"{extract.words} ended with {extract.code}: {extract.said}")

    def _submit(self, what: Copy | Extract, *, thorough: bool) -> None:
        future = self._pool.submit(reader.read, str(what.path), thorough)
        self._open.append((time.monotonic(), what, future))

    def settle(self) -> None:
        """Enter what was read meanwhile."""
        while self._open and self._open[0][2].done():
            _, what, future = self._open.pop(0)
            reading = future.result()
            what.path.unlink()
            if isinstance(what, Copy):
                self._enter(what, reading)
            elif reading.complaint:
                self._log.problem(f"{what.words}: {reading.complaint}")
            else:
                self._given += [(what, which, runs) for which, runs in enumerate(reading.runs)]

    def _enter(self, copy: Copy, reading: Reading) -> None:
        if reading.complaint:
            self._log.problem(f"{copy.name}: {reading.complaint}")
            return
        for which, runs in enumerate(reading.runs):
            if runs and copy.key[0] != INTERFACES[which]:
                self._log.problem(f"{copy.name}: frames of {INTERFACES[which]}")
            if runs != sorted(runs):
                self._log.problem(f"{copy.name}: not in the order in which they came: {runs[:9]}")
            if runs and (wrong := self.accounts[which].enter(copy.key, runs)):
                self._log.problem(f"{copy.name}: {wrong}")

    def check_due(self, counted: dict[str, int]) -> None:
        """All that is due is found, or was told as lost by now (packets of each interface)."""
        oldest = self._open[0][0] if self._open else time.monotonic()
        for which, sender in enumerate(self._senders):
            missing = self.accounts[which].missing(sender.sent_before(oldest - DUE))
            lost = size(missing) - counted.get(INTERFACES[which], 0)
            for first, end in missing if lost > 0 else []:
                if first not in self._overdue:
                    self._overdue.add(first)
                    said = f"{INTERFACES[which]}: frames {first} to {end - 1} are nowhere"
                    self._log.problem(said, sender.sent_at(first))

    def check_extracts(self) -> None:
        """What is in a segment was given, where it was asked for."""
        for extract, which, runs in self._given:
            self.extracted += size(runs)
            if runs != sorted(runs):
                self._log.problem(f"{extract.words}: {INTERFACES[which]}: not in order: {runs[:9]}")
            left_out = self.accounts[which].left_out(runs)
            if left_out and extract.code == 0:
                said = f"{size(left_out)} frames of {INTERFACES[which]}, from {left_out[0][0]} on"
                at = self._senders[which].sent_at(left_out[0][0])
                where = self.accounts[which].segments_of(left_out)
                self._log.problem(
                    f"{extract.words} left out {said}, of {where}, and said: {extract.said}", at
                )

    def lost(self) -> dict[str, tuple[int, int]]:
        """Of each interface: frames that are in no segment and should be, and that need not be."""
        ends = [sender.next for sender in self._senders]
        return {
            name: (size(account.missing(end)), account.doubted(end))
            for name, account, end in zip(INTERFACES, self.accounts, ends, strict=True)
        }


@contextmanager
def readers() -> Iterator[ProcessPoolExecutor]:
    """The process that reads files, behind capd."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=reader.yield_to_all) as pool:
        yield pool
