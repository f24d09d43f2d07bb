"""Gaps and losses of the running daemon: found, told once, and kept for whoever asks.

What counts as a burst or an outage is decided in `bursts` and `outages`; this module feeds
them from the rings and the links.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from capd.daemon.book import Book
from capd.daemon.bursts import STAGES, Bursts, Growth, Outside
from capd.daemon.last_seen import LastSeen, NewRing
from capd.daemon.links import Links
from capd.daemon.monitor import Monitor, Place
from capd.daemon.outages import Outages, Ring
from capd.daemon.recording import Recording
from capd.daemon.rings import Rings
from capd.events import Kind
from capd.journal import tell, tell_loss
from capd.ledger import samples_name
from capd.losses import NOT_CAPTURED, Loss
from capd.messages import Counters
from capd.status import Status
from capd.units import format_count

REMEMBERED = 100  # records
_UNTOLD = "it is not on record yet"
_ELSEWHERE = "it was captured into another directory"


class Ledger:
    """The newest records, and what becomes one."""

    def __init__(
        self,
        rings: Rings,
        monitor: Monitor,
        before: Status | None,
        told_before: Sequence[Loss] = (),
    ) -> None:
        """`before`: the last status of the daemon before, whose rings may live on.

        `told_before`: its records, if it was one of this config.
        """
        self.losses: deque[Loss] = deque(told_before, maxlen=REMEMBERED)
        self.book = Book(told_before=told_before)
        self._fresh: list[Growth] = []
        self._rings = rings
        self._monitor = monitor
        self._outages = _go_on(rings, before)
        self._last_seen = LastSeen()
        self._bursts: dict[Recording, Bursts[Counters]] = {}
        self._outside: dict[Place, Bursts[Outside]] = {}  # before the rings
        # rings that were captured at the last look, and into which directory
        self._captured = {one.name: one.wanted.plan.directory for one in rings.all}
        rings.on_end = self._close

    def link(self, interface: str) -> str:
        """`up`, `down` or `gone`."""
        return self._outages.state(interface)

    @property
    def out(self) -> dict[str, int]:
        """Interfaces that give no packets, and since when (ns since 1970)."""
        return self._outages.since

    def observe(self) -> None:
        """Look at the counters; about once a second."""
        self._recall()
        self._tell_before()
        self._look_outside()
        for recording in self._rings.all:
            for loss in self._feed(recording):
                self._add_explained(loss, recording)
            bursts = self._bursts[recording]
            self._fresh += bursts.growths()
            _tell_cut_short(recording, bursts.cut_short())
            recording.keep(told=bursts.told, untold=bursts.since)

    def look(self, present: Links, noticed: int) -> None:
        """Look at the links; `noticed`: ns since 1970 at which they were seen to change."""
        current = self._rings.current
        captured = {one.wanted.plan.source.interface: one.kept.born for one in current.values()}
        before, self._captured = self._captured, {}
        for name, recording in current.items():
            directory = self._captured[name] = recording.wanted.plan.directory
            if before.get(name) != directory:
                self._check_before(recording, _ELSEWHERE if name in before else NOT_CAPTURED)
        begun, ended = self._outages.look(present, captured, noticed)
        for interface, cause in begun:
            tell(Kind.LINK_DOWN, cause, interface=interface, cause=cause)
        for loss in ended:
            self._add(loss)

    def end(self) -> None:
        """Tell what is left of losses that no ring and no later daemon knows of."""
        self._tell_before()
        self._look_outside()
        for bursts in self._outside.values():
            for loss in bursts.close():
                self._add_explained(loss)

    @property
    def untold(self) -> list[Loss]:
        """What has been seen to be lost, and is to be a record within the next minute."""
        found = [loss for bursts in self._outside.values() for loss in bursts.untold()]
        found += [loss for bursts in self._bursts.values() for loss in bursts.untold()]
        return [replace(loss, cause=_UNTOLD) for loss in found]

    def growths(self) -> list[Growth]:
        """What has been seen to be lost since this was asked, at every stage."""
        found, self._fresh = self._fresh, []
        return found

    def explained(self, loss: Loss) -> Loss:
        """A loss that is no record, with its cause."""
        if loss.stage in STAGES[Outside]:
            return self._monitor.explained(loss, None)
        for recording in self._rings.all:
            if recording.wanted.plan.source.interface == loss.interface:
                return self._monitor.explained(loss, recording)
        for record in reversed(self.losses):  # its ring has ended, and then all is told
            if (record.interface, record.stage) == (loss.interface, loss.stage):
                return replace(loss, cause=record.cause, change=record.change)
        return replace(loss, cause="its ring is not captured any more")

    def _check_before(self, recording: Recording, cause: str) -> None:
        """Have somebody see since when its directory has nothing of it; `cause`: why, then."""
        source, directory = recording.wanted.plan.source, recording.wanted.plan.directory
        if source.interface in self._outages.since:
            return  # the daemon before saw it go: that gap is known already
        born = recording.kept.born
        self._last_seen.ask(NewRing(source.interface, directory, recording.name, born, cause))

    def _tell_before(self) -> None:
        """What was not captured before a ring was opened, once that is known."""
        for ring, since in self._last_seen.found():
            self._add(Loss(ring.interface, "link", since, ring.born, None, ring.cause))

    def _feed(self, recording: Recording) -> list[Loss]:
        kept = recording.kept
        bursts = self._bursts.get(recording)
        if bursts is None:
            interface = recording.wanted.plan.source.interface
            bursts = Bursts(interface, kept.told, kept.untold or kept.born)
            self._bursts[recording] = bursts
        return bursts.feed(
            recording.counters,
            time.time_ns(),
            at_most=bool(kept.until) or bursts.since < kept.since,  # the other ring has them
            taken=recording.reported_at,
        )

    def _close(self, recording: Recording) -> None:
        """A ring has ended: tell the rest."""
        found = self._feed(recording)
        bursts = self._bursts.pop(recording)
        self._fresh += bursts.growths()
        for loss in (*found, *bursts.close()):
            self._add_explained(loss, recording)
        _tell_cut_short(recording, bursts.cut_short(last=True))
        if recording.finished is None:
            self._add(_undrained(recording))

    def _look_outside(self) -> None:
        """At what is lost before it comes to a ring."""
        now, taken = time.time_ns(), self._monitor.looked_at
        found = list(self._monitor.outside())
        for place in self._outside.keys() - {place for place, *_ in found}:
            for loss in self._outside.pop(place).close():
                self._add_explained(loss)
        for place, lost, at_most in found:
            bursts = self._outside.get(place)
            if bursts is None:
                bursts = self._outside[place] = Bursts(place.interface, Outside(), taken)
            for loss in bursts.feed(lost, now, at_most=at_most, taken=taken):
                self._add_explained(loss)
            self._fresh += bursts.growths()

    def _add_explained(self, loss: Loss, recording: Recording | None = None) -> None:
        loss = self._monitor.explained(loss, recording)
        rows = self._monitor.excerpt(loss, recording)
        if rows:
            loss = replace(loss, samples=samples_name(loss.interface, loss.stage, loss.since))
            self.book.save(loss.samples, rows)
        self._add(loss)

    def _add(self, loss: Loss) -> None:
        self.losses.append(loss)
        tell_loss(loss)
        self.book.note(loss)

    def _recall(self) -> None:
        """Records from before this daemon come before its own."""
        before = self.book.recall()
        if before:
            own = list(self.losses)
            old = [one for one in before[-REMEMBERED:] if one not in own]
            self.losses = deque([*old, *own], maxlen=REMEMBERED)


def _go_on(rings: Rings, before: Status | None) -> Outages:
    bound = {
        one.wanted.plan.source.interface: Ring(one.wanted.link_index, one.kept.born)
        for one in sorted(rings.all, key=lambda each: each.kept.born)
    }
    return Outages(bound, before.out, before.written_at) if before else Outages(bound)


def _undrained(recording: Recording) -> Loss:
    """What was in a ring that nobody will drain: all since its worker told that it had no more."""
    plan, now = recording.wanted.plan, time.time_ns()
    told = recording.reported_at - plan.geometry.retire_ms * 10**6
    since = min(now, max(recording.kept.born, told))
    cause = "its ring could not be drained"
    return Loss(plan.source.interface, "capd", since, now, None, cause)


def _tell_cut_short(recording: Recording, packets: int) -> None:
    if packets:
        text = f"{format_count(packets)} packets were cut short: larger than a block of the ring"
        interface = recording.wanted.plan.source.interface
        tell(Kind.CUT_SHORT, text, interface=interface, packets=packets)
