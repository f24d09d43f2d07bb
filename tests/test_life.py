"""The state machine of a worker's life, without processes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from capd.daemon.life import Action, Delays, Event, Life, Phase, begin, step

DELAYS = Delays()


def after(life: Life, event: Event, now: float) -> tuple[Life, tuple[Action, ...]]:
    return step(life, event, now, 0.0, DELAYS)


def running(now: float = 0.0) -> Life:
    life, actions = begin(now, DELAYS)
    assert actions == (Action.SPAWN,)
    life, actions = after(life, Event.PROGRESS, now)
    assert (life.phase, actions) == (Phase.RUNNING, ())
    return life


def test_the_first_replacement_comes_at_once() -> None:
    life, actions = after(running(), Event.EXIT, 100)
    assert (life.phase, actions) == (Phase.STARTING, (Action.SPAWN,))


def test_early_deaths_wait_longer_and_longer_until_one_lives() -> None:
    life, waits = running(), []
    now = DELAYS.stable + 1
    for _ in range(10):
        life, actions = after(life, Event.EXIT, now)
        if life.phase is Phase.BACKING_OFF:
            assert actions == ()
            assert life.deadline is not None
            waits.append(life.deadline - now)
            now = life.deadline
            life, actions = after(life, Event.TIME, now)
        assert actions == (Action.SPAWN,)
    assert waits == sorted(waits)
    assert round(waits[0], 6) == DELAYS.first_backoff
    assert waits[-1] == DELAYS.most_backoff
    life, _ = after(life, Event.PROGRESS, now)
    life, _ = after(life, Event.PROGRESS, now + DELAYS.stable)
    life, actions = after(life, Event.EXIT, now + DELAYS.stable + 1)
    assert actions == (Action.SPAWN,)


def test_jitter_spreads_a_wait() -> None:
    life = Life(Phase.STARTING, 10.0, 0.0, deaths=3)
    early, _ = step(life, Event.EXIT, 1.0, 0.0, DELAYS)
    late, _ = step(life, Event.EXIT, 1.0, 1.0, DELAYS)
    assert early.deadline is not None
    assert late.deadline is not None
    assert early.deadline < late.deadline < early.deadline * 1.2


def test_a_silent_worker_is_aborted_then_killed_then_replaced() -> None:
    life = running()
    life, actions = after(life, Event.TIME, DELAYS.silence)
    assert (life.phase, actions) == (Phase.ABORTING, (Action.ABORT,))
    assert after(life, Event.PROGRESS, DELAYS.silence + 1) == (life, ())
    now = DELAYS.silence + DELAYS.abort
    life, actions = after(life, Event.TIME, now)
    assert (life.phase, actions) == (Phase.KILLING, (Action.KILL,))
    life, actions = after(life, Event.EXIT, now)
    assert life.phase in (Phase.STARTING, Phase.BACKING_OFF)


def test_a_worker_that_cannot_be_killed() -> None:
    """It is killed again and again; only if nothing else is left to do, not for ever."""
    last = replace(DELAYS, kills=3)
    life, _ = after(running(), Event.FINISH, 0.0)
    for _ in range(10):
        before = life
        assert life.deadline is not None
        life, actions = after(life, Event.TIME, life.deadline)
        assert actions in {(Action.ABORT,), (Action.KILL,)}
    assert before.deadline is not None
    ended, actions = step(before, Event.TIME, before.deadline, 0.0, last)
    assert (ended.phase, actions) == (Phase.ENDED, (Action.RELEASE,))
    life, _ = after(before, Event.EXIT, 100.0)
    assert (life.phase, life.kills) == (Phase.STARTING, 0)
    told: list[Action] = []
    while life.deadline is not None:
        life, actions = step(life, Event.TIME, life.deadline, 0.0, last)
        told += actions
    assert told == [Action.ABORT, *[Action.KILL] * 3, Action.RELEASE]


def test_a_late_timer_does_nothing() -> None:
    life, _ = after(running(), Event.PROGRESS, 5.0)
    assert life.deadline == 5.0 + DELAYS.silence
    assert after(life, Event.TIME, DELAYS.silence) == (life, ())


def test_a_timer_that_comes_much_too_late_gives_the_worker_its_time_again() -> None:
    """Whoever froze the daemon may have frozen the worker with it."""
    begun, _ = begin(0.0, DELAYS)
    for life in (begun, running()):
        thawed, actions = after(life, Event.TIME, 60.0)
        assert thawed == replace(life, deadline=60.0 + DELAYS.silence)
        assert actions == ()
        silent, actions = after(thawed, Event.TIME, 60.0 + DELAYS.silence)
        assert (silent.phase, actions) == (Phase.ABORTING, (Action.ABORT,))


def test_a_finish_is_asked_for_once_and_again_of_a_replacement() -> None:
    life, actions = after(running(), Event.FINISH, 1.0)
    assert actions == (Action.ASK_TO_FINISH,)
    assert after(life, Event.FINISH, 2.0) == (life, ())
    life, actions = after(life, Event.EXIT, 2.0)
    assert actions == (Action.SPAWN, Action.ASK_TO_FINISH)
    life, actions = after(life, Event.FINISHED, 3.0)
    assert (life.phase, actions) == (Phase.ENDED, (Action.RELEASE,))


def test_a_drain_that_kills_every_worker_is_given_up() -> None:
    life, _ = after(running(), Event.FINISH, 0.0)
    for _ in range(DELAYS.tries - 1):
        life, actions = after(life, Event.EXIT, 0.0)
        if life.phase is Phase.BACKING_OFF:
            assert life.deadline is not None
            life, actions = after(life, Event.TIME, life.deadline)
        assert Action.SPAWN in actions
    life, actions = after(life, Event.EXIT, 0.0)
    assert (life.phase, actions) == (Phase.ENDED, (Action.RELEASE,))


def test_a_drain_for_which_no_worker_can_be_had_waits_much_longer() -> None:
    """That is not the ring's fault."""
    life, _ = after(running(), Event.FINISH, 0.0)
    life, actions = after(life, Event.EXIT, 0.0)
    for _ in range(DELAYS.spawns - 1):
        assert actions == (Action.SPAWN, Action.ASK_TO_FINISH)
        life, actions = after(life, Event.REFUSED, 0.0)
        assert (life.phase, actions) == (Phase.BACKING_OFF, ())
        assert life.deadline is not None
        life, actions = after(life, Event.TIME, life.deadline)
    started, _ = after(life, Event.PROGRESS, 0.0)
    assert (started.deaths, started.refusals) == (1, 0)
    life, actions = after(life, Event.REFUSED, 0.0)
    assert (life.phase, actions) == (Phase.ENDED, (Action.RELEASE,))


def test_where_others_end_none_is_given_up() -> None:
    """One that was refused a worker is tried at once; one whose workers die waits as before."""
    life, _ = after(running(), Event.FINISH, 0.0)
    assert after(life, Event.ROOM, 0.0) == (life, ())
    life, _ = after(life, Event.EXIT, 0.0)
    for turn in range(3 * DELAYS.spawns):
        life, actions = after(life, Event.REFUSED, turn)
        assert (life.phase, actions) == (Phase.BACKING_OFF, ())
        life, actions = after(life, Event.ROOM if turn % 9 == 0 else Event.TIME, turn + 10)
        assert actions == (Action.SPAWN, Action.ASK_TO_FINISH)
    life, _ = after(running(), Event.EXIT, 0.0)
    life, _ = after(life, Event.EXIT, 0.0)
    assert life.phase is Phase.BACKING_OFF
    assert after(life, Event.ROOM, 0.0) == (life, ())


@given(st.lists(st.tuples(st.sampled_from(list(Event)), st.floats(0, 20))))
def test_whatever_happens(events: list[tuple[Event, float]]) -> None:
    """A life that has not ended has a deadline; one that has ended does nothing any more; at
    most one process is alive."""
    life, actions = begin(0.0, DELAYS)
    now, alive = 0.0, 1
    for event, passed in events:
        now += passed
        if event in (Event.EXIT, Event.REFUSED, Event.FINISHED):
            if not alive:
                continue
            alive = 0
        life, actions = after(life, event, now)
        alive += actions.count(Action.SPAWN)
        assert alive <= 1
        assert (life.phase is Phase.ENDED) == (life.deadline is None)
        assert (Action.RELEASE in actions) <= (life.phase is Phase.ENDED and not alive)
        assert (life.phase is Phase.BACKING_OFF) == (not alive and life.phase is not Phase.ENDED)
