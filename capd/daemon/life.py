"""The life of a worker as a pure state machine: (life, event, now) -> (life, actions).

    STARTING --progress--> RUNNING --silence--> ABORTING --time--> KILLING
        |                     |                     |                 |
        +--------exit---------+--------exit---------+------exit-------+
                              v
                         BACKING_OFF --time--> STARTING

    At any of them a finish may be asked for: the worker is told to drain its ring.  One that
    dies before it is done is replaced and told again, a few times.  Once nothing else is left
    to do, one is given up that cannot even be killed, as the kernel waits for a disk that hangs.
    ENDED is for ever.

A failed spawn is an exit like any other, except that it says nothing about the ring: one that is to
be drained is given up much later over it, and not while others are drained, each of which leaves
room for another worker.  A timer that comes late finds a deadline in the future, or none, and does
nothing; one that comes much later than it was due shows that nobody ran here meanwhile (frozen,
stopped), which may be so of the worker: it gets its time again.
The first replacement starts at once, because the ring fills meanwhile; only workers that keep
dying young wait longer and longer.  This module starts, signals and kills nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, auto


class Phase(Enum):
    """Where a worker is in its life."""

    STARTING = auto()  # spawned, or about to be; has not shown progress yet
    RUNNING = auto()
    ABORTING = auto()  # was told to dump core, because it showed no progress
    KILLING = auto()
    BACKING_OFF = auto()  # there is no process
    ENDED = auto()


class Event(Enum):
    """What can happen to it."""

    PROGRESS = auto()  # its loop has turned
    EXIT = auto()  # it is gone without having finished
    REFUSED = auto()  # it could not be spawned
    FINISHED = auto()  # it is gone, and had drained its ring before
    FINISH = auto()  # somebody wants it to end
    TIME = auto()  # a deadline may have passed
    ROOM = auto()  # another ring was drained: a worker that was refused may be had now


class Action(Enum):
    """What is to be done about it, in this order."""

    SPAWN = auto()
    ASK_TO_FINISH = auto()
    ABORT = auto()
    KILL = auto()
    RELEASE = auto()  # let the ring go: nobody will drain it any more


@dataclass(frozen=True)
class Delays:
    """All in seconds."""

    start: float = 10.0  # until the first sign of progress
    silence: float = 15.0  # between two signs of progress
    late: float = 2.0  # that a timer may be, if somebody runs here
    abort: float = 3.0  # to dump core
    kill: float = 5.0  # until a killed process is gone; then it is killed again
    kills: float = math.inf  # that may be in vain while the ring is to be drained
    first_backoff: float = 0.1
    most_backoff: float = 2.0
    stable: float = 0.25  # of running: earlier deaths are forgotten
    tries: int = 3  # workers that may die while the ring is to be drained
    spawns: int = 30  # that may fail in a row meanwhile: nearly a minute in which none is drained


@dataclass(frozen=True)
class Life:
    """One worker and its replacements."""

    phase: Phase
    deadline: float | None  # when TIME is due, on the clock of `now`
    since: float  # when the phase began
    deaths: int = 0  # in a row, none of them after a stable time
    refusals: int = 0  # spawns in a row that failed
    kills: int = 0  # of this worker
    finishing: bool = False


UNBORN = Life(Phase.ENDED, None, 0.0)

Step = tuple[Life, tuple[Action, ...]]


def begin(now: float, delays: Delays) -> Step:
    """A new life."""
    return Life(Phase.STARTING, now + delays.start, now), (Action.SPAWN,)


def step(life: Life, event: Event, now: float, jitter: float, delays: Delays) -> Step:
    """What an event makes of a life; `jitter` from 0 to 1 spreads what is put off."""
    if life.phase is Phase.ENDED:
        return life, ()
    if event is Event.FINISHED:
        return Life(Phase.ENDED, None, now, finishing=True), (Action.RELEASE,)
    if event in (Event.EXIT, Event.REFUSED):
        gone = _exit if event is Event.EXIT else _refused
        return gone(life, now, jitter, delays)
    if event is Event.FINISH:
        return _finish(life)
    follow = {Event.PROGRESS: _progress, Event.TIME: _time, Event.ROOM: _room}[event]
    return follow(life, now, delays)


def _progress(life: Life, now: float, delays: Delays) -> Step:
    if life.phase is Phase.STARTING:
        deadline = now + delays.silence
        return replace(life, phase=Phase.RUNNING, since=now, deadline=deadline, refusals=0), ()
    if life.phase is Phase.RUNNING:
        deaths = 0 if now - life.since >= delays.stable else life.deaths
        return replace(life, deaths=deaths, deadline=now + delays.silence), ()
    return life, ()  # too late: it is being killed


def _exit(life: Life, now: float, jitter: float, delays: Delays) -> Step:
    if life.phase is Phase.BACKING_OFF:
        return life, ()
    stable = life.phase is Phase.RUNNING and now - life.since >= delays.stable
    deaths = 1 if stable else life.deaths + 1
    if life.finishing and deaths >= delays.tries:
        return Life(Phase.ENDED, None, now, deaths, finishing=True), (Action.RELEASE,)
    life = replace(life, deaths=deaths, refusals=0)
    if deaths == 1:
        return _spawn(life, now, delays)
    return _back_off(life, deaths - 2, now, jitter, delays)


def _refused(life: Life, now: float, jitter: float, delays: Delays) -> Step:
    refusals = life.refusals + 1
    if life.finishing and refusals >= delays.spawns:
        return Life(Phase.ENDED, None, now, life.deaths, refusals, finishing=True), (
            Action.RELEASE,
        )
    return _back_off(replace(life, refusals=refusals), refusals - 1, now, jitter, delays)


def _back_off(life: Life, times: int, now: float, jitter: float, delays: Delays) -> Step:
    wait = min(delays.most_backoff, delays.first_backoff * 2**times) * (1 + jitter / 10)
    return replace(life, phase=Phase.BACKING_OFF, since=now, deadline=now + wait), ()


def _finish(life: Life) -> Step:
    if life.finishing:
        return life, ()
    alive = life.phase in (Phase.STARTING, Phase.RUNNING)
    return replace(life, finishing=True), (Action.ASK_TO_FINISH,) if alive else ()


def _time(life: Life, now: float, delays: Delays) -> Step:
    if life.deadline is None or now < life.deadline:
        return life, ()
    if life.phase in (Phase.STARTING, Phase.RUNNING):
        if now - life.deadline > delays.late:
            return replace(life, deadline=now + delays.silence), ()
        aborting = replace(life, phase=Phase.ABORTING, since=now, deadline=now + delays.abort)
        return aborting, (Action.ABORT,)
    if life.phase in (Phase.ABORTING, Phase.KILLING):
        if life.finishing and life.kills >= delays.kills:
            return replace(life, phase=Phase.ENDED, since=now, deadline=None), (Action.RELEASE,)
        killing = replace(life, phase=Phase.KILLING, since=now, deadline=now + delays.kill)
        return replace(killing, kills=life.kills + 1), (Action.KILL,)
    return _spawn(life, now, delays)


def _room(life: Life, now: float, delays: Delays) -> Step:
    if life.phase is Phase.BACKING_OFF and life.refusals:
        return _spawn(replace(life, refusals=0), now, delays)
    return life, ()


def _spawn(life: Life, now: float, delays: Delays) -> Step:
    started = replace(life, phase=Phase.STARTING, since=now, deadline=now + delays.start, kills=0)
    return started, (Action.SPAWN, Action.ASK_TO_FINISH) if life.finishing else (Action.SPAWN,)
