"""The thread that hands finished segments to the [hook] command, by way of `capd exec`.

The directory is the queue: what is finished and not in the file of what was handed over (`handed`)
is to be.  This thread leaves one event for each run, no more than may run at once, takes in what
became of it, and keeps that file; what comes next is for `handover` to say.  Nothing waits for it,
and what it does not know is done again: the command is run at least once for each segment.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from capd.catalog import Segment
from capd.config import Hook
from capd.daemon import handed
from capd.daemon.finished import Finished, moved_before, up_to_now
from capd.daemon.handed import Ranges
from capd.daemon.handover import Handover, Key
from capd.daemon.outlook import Seen
from capd.daemon.waybill import facts_of, key_of
from capd.errors import StorageError
from capd.events import Kind
from capd.journal import tell
from capd.spool import SEGMENT_CLOSED, Event, Spool, now
from capd.status import HookStatus
from capd.units import format_count, format_duration

BUSY, IDLE = 0.2, 1.0  # seconds between two looks for results, and for segments
LAST = 2.0  # seconds that what runs may take when the daemon ends


@dataclass(frozen=True)
class PorterPlan:
    """What is handed over, from where."""

    directory: str
    second: str  # to which segments move; "": they stay
    compress: bool
    hook: Hook


class Porter(threading.Thread):
    """Of one daemon."""

    def __init__(self, spool: Spool) -> None:
        super().__init__(name="porter", daemon=True)
        self.status: HookStatus | None = None  # None: there is no hook
        self._spool = spool
        self._plan: PorterPlan | None = None
        self._since = 0  # monotonic ns: when that came
        self._seen: tuple[Seen | None, Seen | None] = (None, None)
        self._known: tuple[Seen | None, Seen | None] = (None, None)  # that were looked at
        self._whole = 0  # monotonic ns: when those were taken in that counted last
        self._place: tuple[str, int, int] | None = None  # whose file was read: path, disk, inode
        self._handover: Handover | None = None  # None: nobody knows yet what was handed over
        self._finished = Finished()
        self._begins = False  # the hook is new, and nothing of it was surveyed yet
        self._events: dict[str, Key] = {}  # by name: those that were left and not answered
        self._kept: tuple[dict[str, Ranges], dict[str, Ranges]] | None = None  # what is in the file
        self._done = self._failed = self._given_up = self._missed = 0
        self._told: list[str] = []
        self._woken = threading.Event()
        self._ended = False

    def adjust(self, plan: PorterPlan) -> bool:
        """Go on under this plan; whether it is another one than before."""
        changed = plan != self._plan
        if changed:
            self._plan, self._since = plan, time.monotonic_ns()
            if not self.is_alive() and not self._ended:
                self.start()
            self._woken.set()
        return changed

    def look(self, first: Seen | None, second: Seen | None) -> None:
        """What the reapers have seen last; about once a second."""
        self._seen = first, second

    @property
    def wanted(self) -> int:
        """Monotonic ns: looks that begin after that are wanted; 0: none is."""
        handover = self._handover
        return self._whole if handover is not None and handover.misses else 0

    def waits(self, segment: Segment) -> bool:
        """Whether retention is to keep this one for the hook; for the threads of the reapers."""
        plan, handover = self._plan, self._handover
        if plan is None or plan.hook.segment_closed is None or not plan.hook.keep_until_done:
            return False
        return handover is None or not handover.handed.has(segment.ring, segment.seq)

    def end(self) -> None:
        """Begin nothing any more, and wait a moment for what runs."""
        self._ended = True
        self._woken.set()
        if self.is_alive():
            self.join(2 * LAST)

    def run(self) -> None:
        """The thread."""
        while not self._ended:
            self._turn()
            if self._woken.wait(self._pause):
                self._woken.clear()
        until = time.monotonic() + LAST
        while self._events and time.monotonic() < until:
            time.sleep(BUSY / 4)
            self._turn()

    def _turn(self) -> None:
        plan, troubles = self._plan, list[str]()
        try:
            if plan is not None and plan.hook.segment_closed is not None:
                troubles += self._work(plan)
            else:
                self._retire(plan)
        except StorageError as error:
            self._fail(str(error), troubles)
        except OSError as error:
            self._fail(f"cannot look after {error.filename}: {error.strerror}", troubles)
        for text in troubles:
            if text not in self._told:
                tell(Kind.HOOK_TROUBLE, f"the [hook]: {text}")
        self._told = troubles

    def _fail(self, text: str, troubles: list[str]) -> None:
        """Nothing can be handed over."""
        troubles.append(text)
        if self._is_wanted:
            counts = self._done, self._failed, self._given_up, self._missed
            before = self.status or HookStatus(0, 0, *counts, failing=True)
            self.status = replace(before, failing=True)

    @property
    def _pause(self) -> float | None:
        """Seconds until the next look; None: until there is something new."""
        if self._events:
            return BUSY
        return IDLE if self._handover is not None or self._told or self._is_wanted else None

    @property
    def _is_wanted(self) -> bool:
        return self._plan is not None and self._plan.hook.segment_closed is not None

    def _retire(self, plan: PorterPlan | None) -> None:
        """There is no hook: one that comes is a new one."""
        self._handover = self._place = self.status = None
        self._events.clear()
        if plan is not None:
            handed.remove(plan.directory)
        for name in self._spool.names(SEGMENT_CLOSED):
            self._spool.remove(name)

    def _work(self, plan: PorterPlan) -> list[str]:
        """Do what there is to do now; what does not work, but keeps nothing from being done."""
        handover = self._opened(plan)
        if handover is None:
            return []
        troubles = list[str]()
        try:
            self._hear(handover)
        except StorageError as error:
            troubles.append(str(error))
        self._survey(plan, handover)
        troubles += self._keep(plan, handover)
        try:
            if not self._ended:
                self._hand_over(plan, handover)
        finally:
            self._show(handover)
        return troubles

    def _opened(self, plan: PorterPlan) -> Handover | None:
        """What was handed over in this directory, which may be another one than before."""
        found = os.stat(plan.directory)
        place = plan.directory, found.st_dev, found.st_ino
        if place != self._place:
            if self._place is not None and self._place[0] == place[0]:  # mounted over, or unmounted
                self._since = time.monotonic_ns()  # what the reaper saw there was something else
            self._place, self._handover = place, None
            self._known, self._kept = (None, None), None
        if self._handover is not None:
            return self._handover
        before = handed.read(plan.directory)
        self._begins = before is None
        if before is None:
            first = self._seen[0]
            if first is None or first.directory != plan.directory or first.at < self._since:
                return None  # the reaper has not looked there since there is a hook
            before = up_to_now(first)
            text = "the [hook] command is run for segments that are finished from now on in "
            tell(Kind.HOOK_BEGINS, text + plan.directory)
        self._handover = Handover(before)
        self._adopt(self._handover)
        return self._handover

    def _adopt(self, handover: Handover) -> None:
        """What the daemon before has left for `capd exec`, and what it has not heard of."""
        self._events.clear()
        for name, event in self._spool.waiting(SEGMENT_CLOSED):
            key = key_of(event.facts)
            if key is not None and not handover.handed.has(*key):
                self._events[name] = key
                handover.begin(key)

    def _hear(self, handover: Handover) -> None:
        """What became of the events."""
        waiting, answered = self._spool.known(SEGMENT_CLOSED)
        for name in answered:
            self._spool.remove(name)  # while it cannot be, what became of it stays to be heard
            result = self._spool.result(name)
            key = self._events.pop(name, None) or key_of(result or {})
            if key is not None and not handover.handed.has(*key):
                self._take_in(handover, key, result or {"how": "nobody can read what became of it"})
        for name in self._events.keys() - set(waiting):  # it went with a runtime directory
            handover.release(self._events.pop(name))

    def _take_in(self, handover: Handover, key: Key, result: dict[str, Any]) -> None:
        ring, seq = key
        if result.get("gone"):
            handover.release(key, absent=True)
        elif result.get("done"):
            self._done += 1
            if handover.succeed(key):
                count = format_count(handover.waiting)
                text = f"the [hook] command works again; {count} finished segments wait for it"
                tell(Kind.HOOK_WORKS, text)
        else:
            self._failed += 1
            failure = handover.fail(key, time.monotonic_ns())
            said = f"; it said: {result['output']}" if result.get("output") else ""
            after = f"try {failure.tries}, the next in {format_duration(failure.pause)} or later"
            if failure.given_up:
                self._given_up += 1
                after = f"given up after {failure.tries} tries, as it works for others"
            text = f"the [hook] command failed for segment {seq}: {result.get('how')}{said}"
            tell(Kind.HOOK_FAILED, f"{text}; {after}", interface=ring, segment=seq)

    def _survey(self, plan: PorterPlan, handover: Handover) -> None:
        """What there is to hand over, once the reapers have looked again."""
        seen = self._seen if plan.second else (self._seen[0], None)
        first, second = seen
        if seen == self._known or first is None or first.directory != plan.directory:
            return
        away = bool(plan.second) and (second is None or second.directory != plan.second)
        if away:
            second = None
        if self._begins and second is not None:
            moved_before(first, second, handover.handed)
        self._begins &= away
        clock = time.monotonic_ns()
        found = self._finished.find(first, second, handover.handed, clock, compress=plan.compress)
        if away:  # nothing is handed over from here, and nobody knows what has moved
            gone = handover.renew(found.open, [], handover.rings | first.rings.keys())
        else:
            unclear = first.unclear if second is None else first.unclear | second.unclear
            begun = first.at if second is None else min(first.at, second.at)
            whole = begun > self._whole  # or a segment has moved between the one and the other
            gone = handover.renew(found.open, found.ready, unclear, whole=whole)
            if whole:
                self._whole = time.monotonic_ns()
                handover.tidy(found.present, unclear)
        self._missed += len(gone)
        for ring, keys in groupby(gone, itemgetter(0)):
            _tell_missed(ring, [seq for _, seq in keys])
        self._known = seen

    def _hand_over(self, plan: PorterPlan, handover: Handover) -> None:
        """Leave events for what may be run now."""
        while task := handover.next(time.monotonic_ns(), plan.hook.parallel):
            facts = facts_of(task)
            if facts is None:
                handover.release(task.key, absent=True)
                continue
            ring, seq = task.key
            text = f"{ring}: segment {seq} is finished: {facts['path']}"
            name = self._spool.put(Event(SEGMENT_CLOSED, now(), text, facts, answer=True))
            self._events[name] = task.key
            handover.begin(task.key)

    def _keep(self, plan: PorterPlan, handover: Handover) -> list[str]:
        """Have it on the disk; why it is not."""
        content = dict(handover.handed.rings), handover.handed.waiting
        if content != self._kept:
            try:
                handed.write(plan.directory, handover.handed)
            except StorageError as error:
                return [str(error)]
            self._kept = content
        return []

    def _show(self, handover: Handover) -> None:
        if self._known[0] is None:  # nobody has looked what there is
            return
        self.status = HookStatus(
            waiting=handover.waiting,
            running=handover.running,
            done=self._done,
            failed=self._failed,
            given_up=self._given_up,
            missed=self._missed,
            failing=handover.fails,
        )


def _tell_missed(ring: str, seqs: list[int]) -> None:
    """Numbers of one ring, rising."""
    are, them = ("is", "it") if len(seqs) == 1 else ("are", "them")
    text = f"{handed.in_words(seqs)} {are} gone, and the [hook] command was not done for {them}"
    tell(Kind.HOOK_MISSED, text, interface=ring, segments=len(seqs))
