"""When somebody is to be told of loss: once when it is too much, once when it is over.

Pure.  It looks at one stage of one interface at a time, and sums up what was lost over the newest
stretch of time of a given length.  When that is too much an alert is due; it waits for the end of
the burst, though not for long, and then tells all of it, so that it has the number that the record
of the burst has.  The all-clear comes when the sum has fallen to half of the threshold: loss that
goes up and down around it raises one alert, not many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from capd.daemon.bursts import PROMPT, QUIET, Growth
from capd.losses import STAGES, Loss
from capd.units import DURATIONS

GRAIN = 256  # parts of the stretch: what is lost within one of them leaves it together


class Alarm(NamedTuple):
    """An alert, or its all-clear; `loss` has all of it and no cause."""

    loss: Loss
    over: bool


@dataclass
class _Part:
    """Loss from about one time; times are the caller's monotonic ns."""

    begun: int
    grown: int
    loss: Loss


@dataclass
class _Watch:
    """One stage of one interface."""

    recent: deque[_Part] = field(default_factory=deque)
    packets: int = 0  # of the recent ones
    grown_at: int = 0
    known_from: int | None = None  # when it was taken over from another daemon
    reached_at: int | None = None  # when the threshold was, while it is not told yet
    due: Loss | None = None  # what is to be told then; grows until it is
    raised: Loss | None = None  # what was told; grows while it lasts


class Alerts:
    """Of one daemon."""

    def __init__(self, packets: int = 1, per: int = DURATIONS["min"]) -> None:
        """Raised by so many packets within `per` (ns)."""
        self._packets = packets
        self._per = per
        self._watches: dict[tuple[str, str], _Watch] = {}

    def adjust(self, packets: int, per: int) -> None:
        """Another threshold from now on; what is raised stays until it falls to half of that."""
        self._packets, self._per = packets, per

    def resume(self, raised: Iterable[Loss], now: int) -> None:
        """Go on with what another daemon raised."""
        for loss in raised:
            self._watches[loss.interface, loss.stage] = _Watch(known_from=now, raised=loss)

    @property
    def raised(self) -> list[Loss]:
        """What was told and is not over."""
        return [one.raised for one in self._watches.values() if one.raised is not None]

    def lost(self, growth: Growth, now: int) -> None:
        """More was lost."""
        watch = self._watches.setdefault((growth.interface, growth.stage), _Watch())
        watch.grown_at = now
        watch.packets += growth.packets
        newest = watch.recent[-1] if watch.recent else None
        if newest is not None and now - newest.begun < self._per // GRAIN:
            newest.grown, newest.loss = now, _with(newest.loss, growth)
        else:
            watch.recent.append(_Part(now, now, _loss(growth)))
        if watch.raised is not None:
            watch.raised = _with(watch.raised, growth)
        elif watch.due is not None:
            watch.due = _with(watch.due, growth)

    def look(self, now: int, stages: Container[str] = STAGES) -> list[Alarm]:
        """What is to be told of these stages."""
        found = []
        for key, watch in list(self._watches.items()):
            if key[1] not in stages:
                continue
            while watch.recent and now - watch.recent[0].grown >= self._per:
                watch.packets -= watch.recent.popleft().loss.packets or 0
            self._reach(watch, now)
            alarm = self._end(watch, now) if watch.raised is not None else self._begin(watch, now)
            if alarm is not None:
                found.append(alarm)
            if not watch.recent and watch.raised is None and watch.due is None:
                del self._watches[key]
        return found

    def close(self, interface: str, stage: str) -> list[Alarm]:
        """What was to be told of these later: nobody will see more of it."""
        watch = self._watches.get((interface, stage))
        return [] if watch is None or watch.due is None else [_raise(watch)]

    @property
    def due(self) -> list[Loss]:
        """What is too much, and waits for the end of its burst."""
        return [one.due for one in self._watches.values() if one.due is not None]

    def _reach(self, watch: _Watch, now: int) -> None:
        """Whether it is too much; what leaves the stretch of time while that is not told counts."""
        if watch.raised is not None:
            return
        if watch.due is None and watch.packets >= self._packets:
            watch.reached_at = now
            for part in watch.recent:
                watch.due = part.loss if watch.due is None else _both(watch.due, part.loss)
        elif watch.due is not None and (watch.due.packets or 0) < self._packets:
            watch.due = watch.reached_at = None  # the threshold was raised

    def _begin(self, watch: _Watch, now: int) -> Alarm | None:
        if watch.due is None or watch.reached_at is None:
            return None
        if now - watch.grown_at < QUIET and now - watch.reached_at < PROMPT:
            return None
        return _raise(watch)

    def _end(self, watch: _Watch, now: int) -> Alarm | None:
        known = watch.known_from is None or now - watch.known_from >= self._per
        if watch.raised is None or not known or watch.packets > self._packets // 2:
            return None
        loss, watch.raised = watch.raised, None
        return Alarm(loss, over=True)


def _raise(watch: _Watch) -> Alarm:
    assert watch.due is not None  # noqa: S101  the callers have looked
    watch.raised, watch.due, watch.reached_at = watch.due, None, None
    return Alarm(watch.raised, over=False)


def _loss(growth: Growth) -> Loss:
    interface, stage, packets, since, until, at_most = growth
    return Loss(interface, stage, since, until, packets, "", at_most)


def _with(loss: Loss, growth: Growth) -> Loss:
    return _both(loss, _loss(growth))


def _both(loss: Loss, more: Loss) -> Loss:
    return replace(
        loss,
        until=max(loss.until or 0, more.until or 0),
        packets=(loss.packets or 0) + (more.packets or 0),
        at_most=loss.at_most or more.at_most,
    )
