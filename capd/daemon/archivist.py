"""The archive process, as the daemon looks after it.

It is started when there is something to tell it, replaced when it dies (`life` decides when), and
never waited for: what it was doing, the next one does again.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time

from capd.daemon import life
from capd.daemon.child import Child
from capd.daemon.life import Action, Delays
from capd.daemon.life import Event as Happening
from capd.daemon.rights import withheld
from capd.daemon.spawn import start
from capd.errors import WorkerError
from capd.events import Kind
from capd.journal import tell
from capd.messages import (
    ArchiveAdjust,
    ArchivePlan,
    ArchiveReport,
    ArchiveStart,
    Event,
    Load,
    Look,
    Message,
    Salvage,
)

AT_ONCE = 1000  # files that one message names: a message has room for no more than some thousand
# It runs only when nothing else wants the processor: silence means little.
DELAYS = Delays(start=120.0, silence=120.0, first_backoff=1.0, most_backoff=30.0, stable=10.0)


class Archivist:
    """The archive process and its replacements."""

    def __init__(self) -> None:
        self.report: ArchiveReport | None = None
        self._plan: ArchivePlan | None = None
        self._heard: ArchivePlan | None = None  # the last one that this process was told
        self._life = life.UNBORN
        self._timer: asyncio.TimerHandle | None = None
        self._child: Child | None = None
        self._unstarted = ""  # why there is none, as it was told
        self._turns = -1
        self._salvaged: set[tuple[str, int]] = set()  # what this process was told to
        self._ended = False

    def adjust(self, plan: ArchivePlan) -> None:
        """Have it work under this plan."""
        if plan != self._plan:
            self._plan = plan
            self._salvaged.clear()
            self._tell_plan(plan)

    def observe(self, load: Load) -> None:
        """What capture has to cope with; about once a second, and at first: begin."""
        if self._life is life.UNBORN and self._plan is not None and not self._ended:
            self._take(life.begin(time.monotonic(), DELAYS))
        if self._plan is not None and self._plan != self._heard:  # there was no room for it before
            self._tell_plan(self._plan)
        self._send(load)

    def look(self) -> None:
        """A segment was finished."""
        self._send(Look())

    def salvage(self, remains: dict[str, tuple[int, ...]]) -> None:
        """These files, by ring, belong to nobody; again and again, as they may not be heard."""
        if self._heard != self._plan:  # it would look for them in another directory
            return
        for ring, seqs in remains.items():
            new = [seq for seq in seqs if (ring, seq) not in self._salvaged][:AT_ONCE]
            if new and self._send(Salvage(ring, tuple(new))):
                self._salvaged.update((ring, seq) for seq in new)

    def end(self) -> None:
        """Have it end; it is not waited for."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._child is not None:
            self._child.signal(signal.SIGTERM)

    def _tell_plan(self, plan: ArchivePlan) -> None:
        if self._send(ArchiveAdjust(plan)):
            self._heard = plan

    def _send(self, message: Message) -> bool:
        """False: nobody has heard it."""
        return self._child is not None and self._child.send(message)

    def _happen(self, what: Happening) -> None:
        if not self._ended:
            jitter = random.random()  # noqa: S311  it spreads retries, it hides nothing
            self._take(life.step(self._life, what, time.monotonic(), jitter, DELAYS))

    def _take(self, step: life.Step) -> None:
        self._life, actions = step
        if self._timer is not None:
            self._timer.cancel()
        if self._life.deadline is not None:
            wait = max(0.0, self._life.deadline - time.monotonic())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait, self._happen, Happening.TIME)
        for action in actions:
            if action is Action.SPAWN:
                self._spawn()
            elif self._child is not None:
                number = signal.SIGABRT if action is Action.ABORT else signal.SIGKILL
                self._child.signal(number)

    def _spawn(self) -> None:
        assert self._plan is not None  # noqa: S101  `adjust` has it before it begins
        try:
            with withheld():
                pid, control = start("capd.archive")
            self._child = Child(pid, control, self._hear, self._on_exit)
        except (OSError, WorkerError) as error:
            if str(error) != self._unstarted:
                text = f"{error}; it is tried again, ever more rarely"
                tell(Kind.ARCHIVE_DIED, text, cause="it could not be started")
            self._unstarted = str(error)
            asyncio.get_running_loop().call_soon(self._happen, Happening.EXIT)
            return
        self._unstarted = ""
        self._salvaged.clear()
        self._child.send(ArchiveStart(self._plan))
        self._heard = self._plan

    def _hear(self, message: Message) -> None:
        if isinstance(message, ArchiveReport):
            if message.turns != self._turns:
                self._happen(Happening.PROGRESS)
            self.report, self._turns = message, message.turns
        elif isinstance(message, Event):
            tell(Kind.of(message.name), message.text, interface="", **message.facts)

    def _on_exit(self, status: int) -> None:
        self._child, self._turns, self.report = None, -1, None
        if self._ended:
            return
        cause = f"signal {-status}" if status < 0 else f"status {status}"
        text = f"the archive process died ({cause}); another one goes on"
        tell(Kind.ARCHIVE_DIED, text, cause=cause)
        self._happen(Happening.EXIT)
