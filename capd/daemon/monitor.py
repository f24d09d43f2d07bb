"""The drop monitor: what interfaces, the backlog, rings and disks do, and why packets were lost.

It looks at the counters of captured interfaces at the config's interval, and ten times a second
notes what explains a loss afterwards.  Which numbers make a record is for the `ledger` to say.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from capd import ring
from capd.daemon import causes, evidence, excerpt
from capd.daemon.bursts import Outside
from capd.daemon.causes import Cause, RingFacts
from capd.daemon.history import History, Tick
from capd.daemon.life import Phase
from capd.daemon.nic import Nic
from capd.daemon.recording import Recording
from capd.daemon.softnet import Softnet
from capd.losses import Loss
from capd.status import BacklogStatus, NicStatus
from capd.units import SECOND

# ns of the history that are kept around a loss; after it, no more than has passed when it is told
BEFORE, AFTER = 10 * SECOND, 2 * SECOND
MARGIN = SECOND // 5  # ns: a tick is not at the moment of a sample
BUSY, QUIET = 0.1, 1.0  # seconds between two ticks, while packets come and while none do
SETTLED = 5 * SECOND  # ns without a packet, and it is quiet
UNKNOWN_PACKET = 1000  # bytes, while nothing was written

_BACKLOG_LIMIT = "/proc/sys/net/core/netdev_max_backlog"


class Place(NamedTuple):
    """An interface, by its index too: one that comes back under its name counts from 0."""

    interface: str
    number: int  # the index of the interface


MACHINE = Place("", 0)  # what is of no single interface


class Monitor:
    """Of this daemon's rings, and of what comes before them."""

    def __init__(self) -> None:
        self.interval = SECOND  # ns between two looks at the counters
        self.looked_at = time.time_ns()  # when the newest was
        self._nics: dict[str, Nic] = {}
        self._gone: list[Nic] = []  # watched no more, and to be told of once more
        self._missed: dict[str, int] = {}  # by interface: what no segment tells of yet
        self._asker = ThreadPoolExecutor(1, "ethtool")
        self._softnet = Softnet()
        self._history = History()
        self._due = 0  # monotonic ns
        self._passing: dict[str, tuple[int | None, int | None]] = {}  # at the newest look
        self._passed: object = None  # all that counts packets, when they were seen to come
        self._passed_at = 0  # monotonic ns

    def tick(self, recordings: Iterable[Recording]) -> None:
        """Note how things are; and look at the counters, if it is time."""
        current = {one.name: one for one in reversed(list(recordings))}  # ending ones come last
        self._watch(current.values())
        workers = {
            name: one.worker
            for name, one in current.items()
            if one.worker is not None and one.phase is Phase.RUNNING
        }
        due = time.monotonic_ns() >= self._due
        if due:
            self._passing = {name: _passing(nic) for name, nic in self._nics.items()}
        nics = self._passing
        tick = self._history.take(workers, nics, processors=due)
        passed = nics, {name: one.counters.received for name, one in current.items()}
        if passed != self._passed:
            self._passed, self._passed_at = passed, time.monotonic_ns()
        if due:
            self._due = time.monotonic_ns() + self.interval
            self._look(tick.at, tick.machine["softnet"])
            for recording in current.values():
                interface = recording.wanted.plan.source.interface
                recording.miss(self._missed.pop(interface, 0))

    def look(self) -> None:
        """Look at the counters now: nobody will later."""
        self._look(time.time_ns(), self._history.softnet())

    def _look(self, at: int, text: bytes) -> None:
        self.looked_at = at
        self._softnet.feed(text or None)
        for name, nic in self._nics.items():
            self._missed[name] = self._missed.get(name, 0) + nic.look()

    @property
    def pause(self) -> float:
        """Seconds until the next tick: where nothing comes nothing is lost."""
        quiet = time.monotonic_ns() - self._passed_at > SETTLED
        return min(QUIET, self.interval / SECOND) if quiet else BUSY

    def outside(self) -> Iterator[tuple[Place, Outside, bool]]:
        """Packets lost before the rings since they are watched; whether that is an upper bound."""
        yield MACHINE, Outside(backlog=self._softnet.dropped), False
        gone, self._gone = self._gone, []
        for nic in (*gone, *self._nics.values()):
            yield Place(nic.name, nic.index), Outside(nic=nic.total), nic.at_most

    @property
    def nics(self) -> list[NicStatus]:
        """What the captured interfaces count."""
        return [nic.status for nic in self._nics.values()]

    @property
    def backlog(self) -> BacklogStatus:
        """What the processors' queues count."""
        return self._softnet.status

    def explained(self, loss: Loss, recording: Recording | None) -> Loss:
        """The record with its cause; `recording`: whose ring it is, if it is a ring's."""
        until = loss.since if loss.until is None else loss.until
        if recording is None:
            ticks = self._ticks(loss.since, until)
            cause = self._outside_cause(loss, ticks)
        else:
            cause = self._ring_cause(loss, recording, until)
        return replace(loss, cause=cause.text, change=cause.change)

    def excerpt(self, loss: Loss, recording: Recording | None) -> list[excerpt.Row]:
        """The samples from around a loss."""
        until = loss.since if loss.until is None else loss.until
        begin, end = loss.since - BEFORE, until + AFTER
        spans = [] if recording is None else list(recording.gauge.spans(begin, end))
        name = "" if recording is None else recording.name
        return excerpt.rows(list(self._history.between(begin, end)), spans, name, loss.interface)

    def close(self) -> None:
        """Watch nothing any more."""
        self._asker.shutdown(wait=False, cancel_futures=True)
        self._history.close()
        for nic in self._nics.values():
            nic.close()

    def _watch(self, recordings: Iterable[Recording]) -> None:
        wanted = {one.wanted.plan.source.interface: one.wanted.link_index for one in recordings}
        for name in list(self._nics):
            if wanted.get(name) != self._nics[name].index:
                nic = self._nics.pop(name)
                nic.look()
                nic.close()
                self._gone.append(nic)
        for name, index in wanted.items():
            if name not in self._nics:
                self._nics[name] = Nic(name, index, self._asker)
                self._nics[name].look()

    def _ticks(self, since: int, until: int) -> Sequence[Tick]:
        return list(self._history.between(since - MARGIN, until + MARGIN))

    def _outside_cause(self, loss: Loss, ticks: Sequence[Tick]) -> Cause:
        seen = evidence.of_machine(ticks)
        if loss.stage == "backlog":
            return causes.backlog(_number(_BACKLOG_LIMIT), seen)
        nic = self._nics.get(loss.interface)
        return causes.nic("" if nic is None else nic.advice, seen)

    def _ring_cause(self, loss: Loss, recording: Recording, until: int) -> Cause:
        around = self._ticks(loss.since - BEFORE, until)
        facts = _facts(recording, evidence.idlest(around))
        if loss.stage == "capd":
            return causes.malformed()
        if loss.stage == "disk":
            return causes.disk(facts)
        spans = [
            span
            for span in recording.gauge.spans(loss.since, until)
            if span.sample.dropped > span.before.dropped
        ]
        begin = min((span.before.at for span in spans), default=loss.since)
        end = max((span.sample.at for span in spans), default=until)
        ticks = list(self._history.between(begin, end)) or self._ticks(begin, end)
        return causes.ring(loss.packets or 0, facts, evidence.of_ring(recording.name, spans, ticks))


def _passing(nic: Nic) -> tuple[int | None, int | None]:
    return nic.read("rx_packets"), nic.read("rx_missed_errors")


def _facts(recording: Recording, idlest: int | None) -> RingFacts:
    counters, plan = recording.counters, recording.wanted.plan
    packet = counters.bytes // counters.written if counters.written else UNKNOWN_PACKET
    return RingFacts(
        size=plan.geometry.size,
        packet=packet,
        memory=ring.total_memory(),
        directory=plan.directory,
        refusal=recording.gauge.refusal,
        idlest=idlest,
    )


def _number(path: str) -> int | None:
    try:
        with open(path) as text:
            return int(text.read())
    except (OSError, ValueError):
        return None
