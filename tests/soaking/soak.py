"""A soak while it runs: who takes part, and what is watched meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from capd.errors import StorageError
from tests.soaking import books
from tests.soaking.acts import Acts
from tests.soaking.books import Books
from tests.soaking.copies import Copies
from tests.soaking.extracts import Extracts
from tests.soaking.ground import Ground
from tests.soaking.journals import UNITS, Journals
from tests.soaking.log import Log
from tests.soaking.processes import Samples
from tests.soaking.reader import STREAMS
from tests.soaking.schedule import Step
from tests.soaking.senders import Sender
from tests.soaking.settings import INTERFACES, METRICS
from tests.support.scrape import answers
from tests.support.wait import wait_for
from tests.support.watch import LeastFree

RATES = (6000, 4000)  # frames a second
_TICK = 0.5
_ABSENT = 10.0  # seconds in which another daemon is at work, and has made up for it
_LONGEST = 5.0  # between two looks, as acts take their time


class Actor(Protocol):
    """Who does something all the time, in a thread."""

    def run(self) -> None:
        """Until `end`."""

    def end(self) -> None:
        """No more."""


class Soak:
    """One run: `begin`, and `pursue` a schedule."""

    def __init__(self, ground: Ground, folder: Path, log: Log, duty: ExitStack) -> None:
        self.log = log
        self.ground = ground
        self.senders = [
            Sender(ground.name, stream, ground.make(which), RATES[which])
            for which, stream in enumerate(STREAMS)
        ]
        self.copies = Copies([disk.path for disk in ground.disks.values()], folder)
        self.extracts = [Extracts(ground, folder, follow=follow) for follow in (False, True)]
        self.samples = Samples(ground.pid)
        self.journals = Journals(ground, log)
        self.books = Books(log, duty.enter_context(books.readers()), self.senders)
        self.acts = Acts(ground, log, self.senders, self.books.accounts, self.extracts)
        self.least = {name: LeastFree(disk) for name, disk in ground.disks.items()}
        self.least_free: dict[str, int] = {}
        self._actors: tuple[Actor, ...] = (*self.senders, self.copies, *self.extracts, self.samples)
        self._threads = duty.enter_context(ThreadPoolExecutor(8))
        self._running: list[Future[None]] = []
        self._ticks = 0
        duty.callback(self.end)

    def begin(self) -> None:
        """capd captures, frames come, all is watched."""
        self.ground.systemctl("start", "capd", "capd-metrics")
        wait_for(self._captures, 30, "both rings")
        for watch in self.least.values():
            watch.start()
        for one in self._actors:
            self._running.append(self._threads.submit(one.run))

    def _captures(self) -> bool:
        with suppress(StorageError):
            return {one.interface for one in self.ground.status.rings} == {*INTERFACES}
        return False

    def pursue(self, steps: Iterable[Step], seconds: float) -> None:
        """Each step when it is due, or as soon as the one before it is done."""
        for step in steps:
            self._wait(step.at)
            try:
                self.acts.do(step)
            except AssertionError as error:
                self.log.problem(f"{step.kind} {step.role}: {error}")
        self._wait(seconds)

    def _wait(self, until: float) -> None:
        while time.monotonic() - self.log.begun < until:
            time.sleep(_TICK)
            self.tick()

    def tick(self) -> None:
        """Look at everything that can be looked at meanwhile."""
        self._ticks += 1
        self.books.collect(self.copies, self.extracts)
        self.books.settle()
        for thread in [one for one in self._running if one.done()]:
            self._running.remove(thread)
            thread.result()
        self._check_room()
        if self._ticks % 6 == 0:
            self.journals.read()
            self.books.check_due(self.journals.lost)
        if self._ticks % 20 == 0:
            self._check_units()

    def _check_room(self) -> None:
        """The reserve is kept; but for what is recorded while nobody is there who deletes."""
        absent = self.log.since("kill daemon", "halt daemon", "restart") < _ABSENT + _LONGEST
        for name, watch in self.least.items():
            least, watch.least = watch.least, 2**63
            self.least_free[name] = min(least, self.least_free.get(name, least))
            reserve = self.ground.reserve(name)
            if least < (reserve // 2 if absent else reserve):
                self.log.problem(f"{least:,} bytes were free on the {name} disk, of {reserve:,}")

    def _check_units(self) -> None:
        for unit in UNITS:
            if self.ground.property("ActiveState", unit) == "failed":
                self.log.problem(f"{unit} has failed: {self.ground.property('Result', unit)}")
                self.ground.systemctl("start", unit)
        if self.ground.property("ActiveState", "capd-metrics") == "active":
            with suppress(AssertionError):
                wait_for(lambda: answers(self.ground.net, METRICS, "/metrics", "capd_up"), 5, "")
                return
            if self.ground.property("ActiveState", "capd-metrics") == "active":
                self.log.problem("capd-metrics is active and does not answer")

    @property
    def alive(self) -> bool:
        """Whether somebody still does something."""
        return not all(one.done() for one in self._running)

    def end(self) -> None:
        """Nobody sends or watches any more."""
        for one in self._actors:
            one.end()
        for watch in self.least.values():
            if watch.is_alive():
                watch.end()
