"""All rings of the daemon: which are current, which are ending, and who comes after whom.

`apply` makes what runs equal to what is wanted.  A ring that can go on under its new plan
does; one that cannot is succeeded by another, which is open before it ends.  Two rings of
one interface are cut at an instant, so that each packet is written once; and a worker
begins in a folder only after the one before it has ended there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from capd import ring
from capd.daemon import changes, notify
from capd.daemon.adoption import Adopted
from capd.daemon.recording import Recording
from capd.daemon.ringplan import RingPlan
from capd.daemon.running import Running
from capd.errors import RingError
from capd.events import Kind
from capd.journal import tell
from capd.units import format_size, format_time

AHEAD = 50_000_000  # ns: a cut lies in the future, so that the old ring's worker hears of it first
LATE = 20.0  # seconds that a ring waits for one that is drained into another folder


class Rings:
    """The recordings of this daemon."""

    def __init__(self) -> None:
        self.current: dict[str, Recording] = {}  # by ring
        self.lost: list[str] = []  # rings that could not be drained
        self._ending: list[Recording] = []  # in the order in which they were told to
        self._befores: dict[Recording, list[Recording]] = {}  # whose ends each has to wait for
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_end: Callable[[Recording], None] | None = None  # told of a ring before it goes

    @property
    def all(self) -> list[Recording]:
        """Those that are current and those that are ending."""
        return [*self.current.values(), *self._ending]

    @property
    def memory(self) -> int:
        """Bytes that the rings hold."""
        return sum(recording.wanted.plan.geometry.size for recording in self.all)

    def running(self, *, reloaded: bool) -> Running:
        """Those that can go on, for the plans of what is to run."""
        bound = [one.wanted for one in self.current.values() if one.bound]
        room = ring.available_memory() * ring.MEMORY_LIMIT
        return Running(bound, reloaded=reloaded, room=room)

    def take_over(self, adopted: Adopted) -> None:
        """Go on with rings that outlived another daemon."""
        for text in adopted.lost:
            tell(Kind.RING_LOST, text)
        for found in sorted(adopted.found, key=lambda one: (not one.kept.ending, one.kept.born)):
            recording = Recording(*found)
            _tell_adopted(recording)
            befores = self._those_before(recording.wanted)
            if recording.kept.ending:
                self._ending.append(recording)
            else:
                self.current[recording.name] = recording
            self._begin(recording, befores)

    async def apply(self, wanted: dict[str, RingPlan], unfit: dict[int, str]) -> changes.Applied:
        """Make what runs equal to what is wanted.

        `unfit`: links for which there is no program, by index, and why.  Where a link cannot have
        the ring that is wanted, one of it that runs goes on as it is, whatever its name.
        """
        applied = changes.Applied()
        opened: list[Recording] = []
        unserved = dict(unfit)
        for name, plan in wanted.items():
            running = self.current.get(name)
            fits = running is not None and running.bound and plan.fits(running.wanted)
            if running is not None and fits and _adjust(running, plan, applied):
                continue
            try:
                recording = Recording.open(plan)
            except RingError as error:
                applied.refused[name] = unserved[plan.link_index] = str(error)
                continue
            notify.watchdog()  # the kernel may take seconds to find the memory of each
            _tell_capturing(recording)
            applied.changes += self._succeed(recording)
            opened.append(recording)
        await self._cut(opened)
        for recording in self._ending:
            recording.finish()
        for name in self.current.keys() - wanted.keys():
            why = unserved.get(self.current[name].wanted.link_index)
            if why is not None and self.current[name].bound:
                applied.refused[name] = f"{why}; it goes on as before"
                continue
            applied.changes.append(f"{name}: no longer captured")
            self._end(name)
        return applied

    def store(self) -> None:
        """Tell systemd again what it has not heard: what to keep, and what to let go."""
        for recording in self.all:
            recording.store()
        notify.catch_up()

    def finish(self) -> None:
        """Have every ring drained."""
        for recording in self.all:
            recording.hurry()
        for name in list(self.current):
            self._end(name)

    async def settle(self, timeout: float | None = None) -> list[str]:
        """Wait until those that are ending have ended, but not longer than this; what is late."""
        if self._ending:
            waits = [asyncio.ensure_future(one.ended.wait()) for one in self._ending]
            _, late = await asyncio.wait(waits, timeout=timeout)
            for wait in late:
                wait.cancel()
        left = [one.name for one in self._ending if not one.ended.is_set()]
        return [f"{name}: what came before is not written yet" for name in left]

    async def ended(self) -> None:
        """Wait until there is no ring any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _succeed(self, recording: Recording) -> list[str]:
        """Put a new ring in the place of those of its folder and of its link; what is different.

        Those that it succeeds are not told to end yet: they may be succeeded by others as well.
        """
        befores = self._those_before(recording.wanted)
        succeeded = [one for one in befores if one not in self._ending]
        for before in succeeded:
            self._ending.append(self.current.pop(before.name))
        self.current[recording.name] = recording
        self._begin(recording, befores)
        if not succeeded:
            return [f"{recording.name}: {changes.opened(recording.wanted)}"]
        before = next((one for one in succeeded if one.name == recording.name), succeeded[0])
        texts = changes.differences(before.wanted, recording.wanted)
        return [f"{recording.name}: {text}, with a new ring" for text in texts]

    def _those_before(self, plan: RingPlan) -> list[Recording]:
        """The recordings after which one of this plan comes: of its folder and of its link."""
        return [
            one
            for one in self.all
            if one.name == plan.name or one.wanted.link_index == plan.link_index
        ]

    def _begin(self, recording: Recording, befores: list[Recording]) -> None:
        self._befores[recording] = befores
        task = asyncio.create_task(self._live(recording, befores))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end(self, name: str) -> None:
        recording = self.current.pop(name)
        self._ending.append(recording)
        recording.finish()

    async def _cut(self, opened: list[Recording]) -> None:
        """Have what captures the links of these rings write up to an instant, and these from it on.

        Whoever dies meanwhile, no ring is asked to end before systemd has the one that goes on.
        """
        overlapping = [
            (before, recording)
            for recording in opened
            for before in self._befores[recording]
            if before.bound
            and not before.kept.ending
            and before.wanted.link_index == recording.wanted.link_index
        ]
        if not overlapping:
            return
        await asyncio.to_thread(notify.barrier)
        moment = time.time_ns() + AHEAD
        for _, recording in overlapping:
            recording.keep(since=moment)
        for before, _ in overlapping:
            before.finish(until=moment)

    async def _live(self, recording: Recording, befores: list[Recording]) -> None:
        """From a ring's first worker to its end; whatever comes up, it is not forgotten."""
        try:
            await self._drain(recording, befores)
        except Exception:
            self._give_up(recording)
            raise  # asyncio tells the rest
        if recording.finished is not None:  # where none is drained, patience must have an end
            for other in self.all:
                other.try_again()

    async def _drain(self, recording: Recording, befores: list[Recording]) -> None:
        for before in befores:
            await _end_of(before, recording.wanted)
            is_cut = before.kept.until and before.kept.until == recording.kept.since
            if is_cut and before.finished is not None:
                recording.keep(since=before.finished.until)
                _tell_changed(recording)
        self._let_go(recording)
        recording.start()
        await recording.ended.wait()
        if recording in self._ending:
            self._ending.remove(recording)
        if self.on_end is not None:
            self.on_end(recording)
        if recording.finished is not None:
            tell(Kind.FINISHED, changes.drained(recording.counters), interface=recording.name)
        else:
            self._lose(recording)
        self._release(recording)

    def _let_go(self, recording: Recording) -> None:
        """It does not wait for those before it any more."""
        for before in self._befores.pop(recording, ()):
            self._release(before)

    def _release(self, recording: Recording) -> None:
        """Unless it goes on, or one has to know yet where it ended."""
        awaited = any(recording in befores for befores in self._befores.values())
        if recording.ended.is_set() and not awaited:
            recording.release()

    def _lose(self, recording: Recording) -> None:
        text = "its ring could not be drained: what was in it is lost"
        tell(Kind.RING_LOST, text, interface=recording.name)
        self.lost.append(f"{recording.name}: {text}")

    def _give_up(self, recording: Recording) -> None:
        self._lose(recording)
        if recording in self._ending:
            self._ending.remove(recording)
        if self.current.get(recording.name) is recording:
            del self.current[recording.name]
        recording.give_up()
        self._let_go(recording)
        self._release(recording)


async def _end_of(before: Recording, following: RingPlan) -> None:
    """When a ring of this plan may begin: one that hangs in another folder does not hold it up."""
    folders = {(one.plan.directory, one.name) for one in (before.wanted, following)}
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(before.ended.wait(), None if len(folders) == 1 else LATE)


def _adjust(running: Recording, plan: RingPlan, applied: changes.Applied) -> bool:
    """Go on with a ring under another plan; False: it takes another ring.

    A socket that holds a long filter may have no room for another one beside it.
    """
    before = running.wanted
    if plan.equals(before):
        return True
    try:
        running.adjust(plan)
    except OSError:
        return False
    applied.changes += [f"{plan.name}: {text}" for text in changes.differences(before, plan)]
    old, new = before.plan.source, running.wanted.plan.source
    if new.filter != old.filter:
        since = format_time(new.filter_since)
        tell(
            Kind.FILTER,
            f"{changes.filtered(new)} since {since}; before: {changes.filtered(old)}",
            interface=plan.name,
            filter=new.filter,
            filter_before=old.filter,
            since=since,
        )
    return True


def _tell_capturing(recording: Recording) -> None:
    wanted = recording.wanted
    tell(
        Kind.CAPTURING,
        changes.opened(wanted),
        interface=recording.name,
        filter=wanted.plan.source.filter,
        ring_bytes=wanted.plan.geometry.size,
        directory=wanted.plan.directory,
    )


def _tell_adopted(recording: Recording) -> None:
    size = format_size(recording.wanted.plan.geometry.size)
    tell(
        Kind.ADOPTED,
        f"goes on with its ring of {size}, which outlived the daemon before",
        interface=recording.name,
    )


def _tell_changed(recording: Recording) -> None:
    """That one ring has gone on for another."""
    since = format_time(recording.kept.since)
    tell(
        Kind.RING_CHANGED,
        f"packets from {since} on are in another ring of "
        f"{format_size(recording.wanted.plan.geometry.size)}",
        interface=recording.name,
        since=since,
    )
