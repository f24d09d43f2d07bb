"""One ring being captured: its socket, the memory beside it, and the workers that drain it.

The daemon opens the ring and keeps it, so that a worker may die: the ring fills on, and the
next worker goes on where the last one stopped.  systemd keeps it too, so that the daemon
may die.  What happens when is decided in `life`; this module does it.  Nothing here reads a
packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from typing import Any

from capd import descriptors, ring
from capd.daemon import keepsake, life, notify
from capd.daemon.child import Child
from capd.daemon.gauge import Gauge
from capd.daemon.keepsake import Keepsake
from capd.daemon.life import Action, Delays
from capd.daemon.life import Event as Happening
from capd.daemon.ringplan import RingPlan
from capd.daemon.spawn import Spawned, spawn
from capd.errors import RingError, WorkerError
from capd.events import Kind
from capd.journal import tell
from capd.messages import (
    Adjust,
    Counters,
    Event,
    Expect,
    Finish,
    Finished,
    Message,
    Missed,
    Report,
)

DELAYS = Delays()
LAST_DELAYS = Delays(kills=6)


class Recording:
    """A ring and its workers, from `start` until `ended`."""

    def __init__(
        self, kept: Keepsake, sock: socket.socket, memory: int, worker: Spawned | None = None
    ) -> None:
        """`worker` has begun already."""
        self.report: Report | None = None
        self.finished: Finished | None = None
        self.reported_at = 0  # ns since 1970: when a worker told the newest counters
        self.last_pause_ms: int | None = None
        self.gauge = Gauge(kept.wanted.plan.geometry.blocks)
        self.ended = asyncio.Event()
        self.kept = kept
        self._socket = sock
        self._memory = memory
        self._life = life.UNBORN
        self._delays = DELAYS
        self._timer: asyncio.TimerHandle | None = None
        self._spawned = worker
        self._child: Child | None = None
        self._unstarted = ""  # why there is no worker, as it was told
        self._turns = -1  # of the worker's loop, when it last reported
        self._begun = False
        self._missed = 0  # packets that the NIC had no room for, and no worker knows of
        self._names = keepsake.stored_names(ring.cookie(sock), kept.wanted.plan.geometry)
        self._unstored: list[tuple[str, int]] = []  # what systemd has not heard of yet

    @classmethod
    def open(cls, wanted: RingPlan) -> Recording:
        """A new ring, in which packets gather from here on.  RingError."""
        plan = wanted.plan
        with contextlib.ExitStack() as undo:
            sock = ring.open_ring(
                plan.source.interface,
                plan.geometry,
                wanted.program,
                promiscuous=wanted.promiscuous,
            )
            undo.callback(sock.close)
            if ring.bound_index(sock) != wanted.link_index:  # the next look would open another one
                raise RingError(f"{plan.source.interface} was made anew just now")
            try:
                memory = keepsake.make_memory(f"capd-{wanted.name}")
                undo.callback(os.close, memory)
                descriptors.leave_for_workers(memory)
                recording = cls(Keepsake(wanted, born=time.time_ns()), sock, memory)
                recording.keep()
            except OSError as error:
                text = f"cannot keep a ring for {plan.source.interface}: {error.strerror}"
                raise RingError(text) from error
            undo.pop_all()
        recording._unstored = list(zip(recording._names, (sock.fileno(), memory), strict=True))
        recording.store()
        return recording

    @property
    def wanted(self) -> RingPlan:
        """What it captures, and how."""
        return self.kept.wanted

    @property
    def name(self) -> str:
        """The ring's name."""
        return self.wanted.name

    @property
    def counters(self) -> Counters:
        """The newest that a worker told."""
        if self.finished is not None:
            return self.finished.counters
        return self.report.counters if self.report is not None else self.kept.told

    @property
    def phase(self) -> life.Phase:
        """Where its worker is in its life; one that waits for the ring before is about to start."""
        return self._life.phase if self._begun else life.Phase.STARTING

    @property
    def deaths(self) -> int:
        """Workers in a row that did not live long, or at all."""
        return self._life.deaths + self._life.refusals

    @property
    def worker(self) -> int | None:
        """The process id of its worker."""
        return self._child.pid if self._child is not None else None

    @property
    def disk_full(self) -> bool:
        """Whether the disk has no room for what its worker is to write."""
        return self._child is not None and self.report is not None and self.report.full

    @property
    def bound(self) -> bool:
        """Whether its interface is still there: the kernel unbinds a ring for ever."""
        return bool(self._socket.getsockname()[0])

    def keep(self, **changes: Any) -> None:
        """Change what the next daemon is to know of it."""
        self.kept = self.kept._replace(**changes)
        keepsake.write(self._memory, self.kept)

    def store(self) -> None:
        """Have systemd keep the ring and its memory, as far as it has not heard that already."""
        self._unstored = [one for one in self._unstored if not notify.store(*one)]

    def start(self) -> None:
        """Begin to drain the ring."""
        self._begun = True
        self._take(life.begin(time.monotonic(), self._delays))
        if self.kept.ending:
            self._happen(Happening.FINISH)

    def adjust(self, wanted: RingPlan) -> None:
        """Go on under this plan, which fits the ring.  OSError: then nothing has changed."""
        before = self.wanted
        moment = before.plan.source.filter_since
        if wanted.promiscuous != before.promiscuous:
            ring.set_promiscuous(self._socket, wanted.link_index, on=wanted.promiscuous)
        if wanted.program != before.program:
            self._tell(Expect())
            try:
                ring.attach_filter(self._socket, wanted.program)
            except OSError:
                self._tell(Adjust(before.plan))
                raise
            moment = time.time_ns()
        self.keep(wanted=wanted.since(moment))
        if self.wanted.plan != before.plan:
            self._tell(Adjust(self.wanted.plan))

    def _tell(self, message: Message) -> None:
        if self._child is not None:
            self._child.send(message)

    def miss(self, packets: int) -> None:
        """Have the segment tell of packets that its NIC had no room for."""
        self._missed += packets
        if self._missed and self._child is not None and self._child.send(Missed(self._missed)):
            self._missed = 0

    def finish(self, until: int = 0) -> None:
        """Have the ring drained and the last segment closed; `ended` follows.

        With `until`, ns since 1970, another ring has the packets stamped from then on.
        """
        if not self.kept.ending:
            self.keep(ending=True, until=until)
            if not until:  # now, however late its worker is: another ring may be opened next
                with contextlib.suppress(OSError):  # then the worker does it
                    ring.attach_filter(self._socket, ring.REJECT_ALL)
            if self._begun:
                self._happen(Happening.FINISH)

    def try_again(self) -> None:
        """Another ring was drained: a worker that could not be had may be had now."""
        if self._begun:
            self._happen(Happening.ROOM)

    def hurry(self) -> None:
        """The daemon ends: do not wait for ever for a worker that cannot even be killed."""
        self._delays = LAST_DELAYS

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
            self.ended.set()
        elif self._child is None:
            return
        elif action is Action.ASK_TO_FINISH:
            self._child.send(Finish(self.kept.until))
        elif action is Action.ABORT:
            tell(
                Kind.WORKER_SILENT,
                "its worker shows no progress: replacing it; the ring holds what comes meanwhile",
                interface=self.name,
                worker=self._child.pid,
            )
            self._child.signal(signal.SIGABRT)
        elif action is Action.KILL:
            self._child.signal(signal.SIGKILL)

    def give_up(self) -> None:
        """Have nobody drain it any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._life = life.UNBORN
        if self._child is not None:
            self._child.signal(signal.SIGKILL)
        self.ended.set()

    def release(self) -> None:
        """Let the ring go, with what is in it; nothing to do if it is gone."""
        if self._memory < 0:
            return
        self._unstored = []
        for name in self._names:
            notify.remove(name)
        self._socket.close()
        os.close(self._memory)
        self._memory = -1

    def _spawn(self) -> None:
        try:
            spawned = self._spawned or self._new_worker()
            self._child = Child(spawned.pid, spawned.control, self._hear, self._on_exit)
        except WorkerError as error:
            if str(error) != self._unstarted:
                text = f"{error}; the ring holds what comes, and it is tried again"
                tell(Kind.WORKER_DIED, text, interface=self.name, worker="none")
            self._unstarted = str(error)
            asyncio.get_running_loop().call_soon(self._happen, Happening.REFUSED)
        else:
            self._unstarted = ""
            self.gauge.restart()
        finally:
            self._spawned = None

    def _new_worker(self) -> Spawned:
        spawned = spawn(self._socket.fileno(), self._memory)
        spawned.begin(self.wanted.plan, self.kept.since)
        return spawned

    def _hear(self, message: Message) -> None:
        if isinstance(message, Report | Finished):
            self.reported_at = time.time_ns()
        if isinstance(message, Report):
            if message.turns != self._turns:
                self._happen(Happening.PROGRESS)
            self.report, self._turns = message, message.turns
            self.gauge.feed(message)
        elif isinstance(message, Event):
            self.last_pause_ms = message.facts.get("pause_ms", self.last_pause_ms)
            tell(Kind.of(message.name), message.text, interface=self.name, **message.facts)
        elif isinstance(message, Finished):
            self.finished = message

    def _on_exit(self, status: int) -> None:
        worker = self.worker or 0
        self._child, self._turns = None, -1
        if self.finished is not None or self.ended.is_set():
            self._happen(Happening.FINISHED)
            return
        cause = f"signal {-status}" if status < 0 else f"status {status}"
        text = f"its worker died ({cause}); the ring holds what comes until another goes on"
        tell(Kind.WORKER_DIED, text, interface=self.name, worker=worker, cause=cause)
        self._happen(Happening.EXIT)
