"""One ring being captured: its socket, its state page, and the workers that drain it.

The daemon opens the ring and keeps it, so that a worker may die: the ring fills on, and the
next worker goes on where the last one stopped.  What happens when is decided in `life`;
this module does it.  Nothing here reads a packet.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable

from capd import ring
from capd.daemon import life
from capd.daemon.child import Child
from capd.daemon.life import Action, Delays
from capd.daemon.life import Event as Happening
from capd.daemon.plans import RingPlan
from capd.errors import WorkerError
from capd.messages import Counters, Event, Finish, Finished, Message, Report

STATE_PAGE = 4096  # bytes
DELAYS = Delays()

Tell = Callable[[str, str], None]  # level, text


class Recording:
    """A ring and its workers, from `start` until `ended`."""

    def __init__(self, wanted: RingPlan, tell: Tell, delays: Delays = DELAYS) -> None:
        """Open the ring; packets gather in it from here on.  RingError."""
        self.wanted = wanted
        self.report: Report | None = None
        self.finished: Finished | None = None
        self.ended = asyncio.Event()
        self._tell = tell
        self._delays = delays
        self._life = life.UNBORN
        self._timer: asyncio.TimerHandle | None = None
        self._child: Child | None = None
        self._turns = -1  # of the worker's loop, when it last reported
        plan = wanted.plan
        self._socket = ring.open_ring(
            plan.source.interface,
            plan.geometry,
            wanted.program,
            promiscuous=wanted.promiscuous,
        )
        self._state = os.memfd_create(f"capd-{wanted.name}", os.MFD_CLOEXEC)
        os.ftruncate(self._state, STATE_PAGE)

    @property
    def name(self) -> str:
        """The ring's name."""
        return self.wanted.name

    @property
    def counters(self) -> Counters:
        """The newest that a worker told."""
        if self.finished is not None:
            return self.finished.counters
        return self.report.counters if self.report is not None else Counters()

    def start(self) -> None:
        """Begin to drain the ring."""
        self._take(life.begin(time.monotonic(), self._delays))

    def finish(self) -> None:
        """Have the ring drained and the last segment closed; `ended` follows."""
        self._happen(Happening.FINISH)

    def _happen(self, what: Happening) -> None:
        jitter = random.random()  # noqa: S311  it spreads retries, it hides nothing
        self._take(life.step(self._life, what, time.monotonic(), jitter, self._delays))

    def _take(self, step: life.Step) -> None:
        self._life, actions = step
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        if self._life.deadline is not None:
            wait = max(0.0, self._life.deadline - time.monotonic())
            self._timer = loop.call_later(wait, self._happen, Happening.TIME)
        for action in actions:
            self._act(action)

    def _act(self, action: Action) -> None:
        if action is Action.SPAWN:
            self._spawn()
        elif action is Action.RELEASE:
            self._socket.close()
            os.close(self._state)
            self.ended.set()
        elif self._child is None:
            return
        elif action is Action.ASK_TO_FINISH:
            self._child.send(Finish())
        elif action is Action.ABORT:
            self._tell("error", "its worker shows no progress: replacing it")
            self._child.signal(signal.SIGABRT)
        elif action is Action.KILL:
            self._child.signal(signal.SIGKILL)

    def _spawn(self) -> None:
        plan = self.wanted.plan
        try:
            self._child = Child(plan, self._socket.fileno(), self._state, self._hear, self._on_exit)
        except WorkerError as error:
            self._tell("error", str(error))
            asyncio.get_running_loop().call_soon(self._happen, Happening.EXIT)

    def _hear(self, message: Message) -> None:
        if isinstance(message, Report):
            if message.turns != self._turns:
                self._happen(Happening.PROGRESS)
            self.report, self._turns = message, message.turns
        elif isinstance(message, Event):
            self._tell(message.level, message.text)
        elif isinstance(message, Finished):
            self.finished = message

    def _on_exit(self, status: int) -> None:
        self._child, self._turns = None, -1
        if self.finished is not None:
            self._happen(Happening.FINISHED)
            return
        cause = f"signal {-status}" if status < 0 else f"status {status}"
        self._tell("error", f"its worker died ({cause}); the ring holds what comes meanwhile")
        self._happen(Happening.EXIT)
