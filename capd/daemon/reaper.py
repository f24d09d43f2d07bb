"""The thread that keeps a capture directory within the rules of retention.

What goes is decided in `retention`, what must not go in `custody`, and `deletion` deletes; this
module looks at the disk.  It looks at everything when it is woken (a segment was finished, the
disk refuses), when something else is held, and now and then; at the free space alone the more
often the sooner the reserve is reached.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from capd import hold_folder
from capd.catalog import Catalog, RingFiles, Segment, everything
from capd.daemon.custody import Custody, Summary
from capd.daemon.decline import Decline
from capd.daemon.deletion import Deletion
from capd.daemon.directory import mount_point
from capd.daemon.outlook import Outlook, Seen, Space, deleted, outlook
from capd.daemon.retention import Choice, Kept, Need, Policy, choose, nothing
from capd.daemon.stuck import Stuck
from capd.daemon.trusted_clock import PROBATION, TrustedClock
from capd.errors import StorageError
from capd.events import Kind
from capd.holds import Hold
from capd.journal import tell
from capd.times import clock
from capd.units import format_count, format_duration, format_size

LOOK_EVERY = 30.0  # seconds, while nothing happens
SOONEST, LATEST = 0.05, 1.0  # seconds between two looks at the free space
# A rate that may begin between two looks: bytes a second, but no more than this part of the disk.
SUDDEN = (10**9, 1 / 2)
REST = 4  # times as long as a look at everything took it rests before the next, if it may
# Space that is made before it is needed: seconds of writing, but at most this part of the disk;
# whatever comes to more counts.  Three seconds are what a busy disk may hold up one unlink while
# writes go on; and what is sudden has at least so many bytes.
AHEAD = ((10.0, 1 / 20), (3.0, 1 / 4))
AT_LEAST = (2**30, 1 / 20)
FREEING = 0.5  # seconds within which a file system has freed what was deleted


@dataclass(frozen=True)
class Territory:
    """A directory, and the rules in it."""

    directory: str
    require_mount: bool
    policy: Policy
    second: bool = False  # whether segments move here from the capture directory
    holds_in: str = ""  # the capture directory that has the holds; "": this one


class Reaper(threading.Thread):
    """Looks after one directory; nothing waits for it."""

    def __init__(self, territory: Territory, trusted: TrustedClock) -> None:
        super().__init__(name="reaper", daemon=True)
        self.outlook = Outlook()
        self.holds = Summary()  # in force, and what they keep
        self.space: Space | None = None  # None: the directory cannot be used, or not yet
        self.seen: Seen | None = None  # the last look at all files
        self.waits: Callable[[Segment], bool] = nothing  # whether the hook is to keep one
        self._unusable = False
        self._territory = territory
        self._catalog = Catalog(territory.directory)
        self._custody = Custody(*_places(territory), trusted)
        self._woken = threading.Event()
        self._ended = False
        self._rate = 0.0  # bytes per second that are being written, as others know it
        self._decline = Decline()
        self._stuck = Stuck()
        self._trusted = trusted
        self._spares = False  # whether it was told that the clock is not believed
        self._wanted = 0
        self._refused = False
        self._due = 0.0  # monotonic: when everything is looked at again, but not before `rested`
        self._rested = 0.0
        self._exhausted = False  # whether the last deletion came to less than was needed
        self._expected = (0, 0.0)  # free bytes after a deletion, and when it was
        # Under which rules which holds were told to leave no room for anything else.
        self._crowded: tuple[Policy, tuple[Hold, ...]] | None = None
        self._told: set[str] = set()

    def adjust(self, territory: Territory) -> None:
        """Go on under these rules, in this directory."""
        self._refused &= territory.directory == self._territory.directory
        self._territory = territory
        self.wake()

    def wake(self) -> None:
        """Look at everything."""
        self._woken.set()

    def observe(self, rate: float, wanted: int = 0, *, refused: bool) -> None:
        """How fast segments grow (bytes/s), and whether the disk says that it has no room.

        `wanted`: bytes that somebody waits for.  Of the second directory, where one that waits
        tries ever more rarely, that is said once for each time that it was so.
        """
        self._rate, self._wanted = rate, wanted
        self._refused = refused or (self._territory.second and self._refused)
        if refused:
            self.wake()

    def end(self) -> None:
        """Delete no more."""
        self._ended = True
        self._woken.set()

    def run(self) -> None:
        """The thread."""
        while not self._ended:
            wait, territory = LATEST, self._territory
            try:
                wait = self._look(territory)
            except OSError as error:
                self._give_up(f"cannot look after {territory.directory}: {error.strerror}")
            except StorageError as error:
                self._give_up(str(error))
            if self._woken.wait(wait):
                self._woken.clear()  # whoever sets it from here on is heeded by the look after this
                self._due = 0.0

    def _look(self, territory: Territory) -> float:
        """Delete what has to go; gives in how many seconds to look again."""
        if territory.require_mount and mount_point(territory.directory) == "/":
            raise StorageError(
                f"nothing is deleted in {territory.directory} while its disk is not mounted"
            )
        self._heed_holds(territory)
        now = time.monotonic()
        space = os.statvfs(territory.directory)
        total = space.f_blocks * space.f_frsize
        said = space.f_bavail * space.f_frsize
        rate = max(self._rate, self._decline.look(now, said))
        free = self._free(said, now, rate)
        reserve = territory.policy.reserve(total)
        self._see(Space(total, said, reserve))
        ahead = _ahead(rate, total) if reserve else 0
        # What could not be had even if nothing else were kept is not made room for.
        wanted = self._wanted if self._wanted <= self.outlook.room else 0
        short = free < reserve + max(ahead * 3 // 4, wanted)
        refused = self._refused or (space.f_files and not space.f_favail)
        # As long as deleting helps, a disk that fills is no time to rest.
        urgent = free < reserve + ahead // 2 and not self._exhausted
        if (urgent or now >= self._rested) and (short or now >= self._due):
            goal = reserve + max(ahead, wanted) if short else 0
            if refused and reserve:  # a quota, or no inode: the free space does not tell
                goal = max(goal, free + max(1, wanted))
            self._refused &= not territory.second
            self._due = now + LOOK_EVERY
            need = Need(goal - free, territory.policy.space_rule(total))
            freed = self._reap(territory, need, free, reserve)
            free += freed
            self._decline.freed(freed)
            self._expected = (free, now) if freed else (0, 0.0)
            pause = LATEST if self.outlook.missing else 0.0
            self._rested = now + max(pause, REST * (time.monotonic() - now))
        left = (free - reserve) / max(rate, _least(SUDDEN, total)) if reserve else LATEST
        return min(LATEST, max(SOONEST, left / 4))

    def _free(self, said: int, now: float, rate: float) -> int:
        """Bytes that are free, or will be: XFS frees what was deleted in the background."""
        expected, since = self._expected
        if now - since > FREEING or self._refused:
            return said
        return max(said, round(expected - rate * (now - since)))

    def _heed_holds(self, territory: Territory) -> None:
        """Learn of what is held, and look at everything if it is something else than before."""
        if self._custody.places != _places(territory):
            self._custody = Custody(*_places(territory), self._trusted)
        if self._custody.look():
            self._due = 0.0
        if not territory.second and not self._custody.has_folder:
            with contextlib.suppress(StorageError):  # whoever wants to hold something is told
                os.close(hold_folder.make(territory.directory))
        self.holds = self._custody.summary

    def _reap(self, territory: Territory, need: Need, free: int, reserve: int) -> int:
        """Delete what has to go; gives how many bytes that were."""
        if self._catalog.directory != territory.directory:
            self._catalog, self._stuck = Catalog(territory.directory), Stuck()
        now, began, at = time.time_ns(), time.monotonic_ns(), time.monotonic()
        rings = self._catalog.scan()
        self._custody.survey(rings)
        kept = Kept(self._custody.keeps, self.waits, lambda one: self._stuck.passes(one, at))
        choice = self._choose(rings, need, territory, kept)
        deletion = Deletion(territory.directory)
        deletion.run(choice.victims, lambda: self._ended or self._custody.is_stale)
        deletion.tell()
        self._stuck.forget(everything(rings))
        for reason, path in deletion.refused.items():
            if reason not in self._stuck.reasons:
                self._complain(f"cannot delete {path}: {reason}")
        surprised = self._stuck.learn(deletion.stuck, at)
        troubles = [one for told in self._catalog.troubles.values() for one in told]
        for trouble in troubles:
            self._complain(f"{trouble}; nothing in it is deleted")
        if not deletion.refused and not self._stuck.reasons and not troubles:
            self._told.clear()
        freed = deletion.freed
        missing = max(0, reserve - free - freed)
        # Others make room too, nobody knows how much; or others have to go than was thought.
        unsettled = bool(deletion.vanished) or surprised
        self._exhausted = freed < need.free and not unsettled
        if unsettled:
            self._due = 0.0
        if self._custody.is_stale or unsettled:  # deletion goes on at once
            missing = min(missing, self.outlook.missing)
        self.holds = self._custody.summary
        self._tell_missing(territory, need.rule, missing)
        unclear = frozenset(self._catalog.troubles)
        self.seen = Seen(began, territory.directory, rings, deleted(deletion.gone), unclear)
        after = outlook(self.seen, now)
        self._tell_crowded(territory, after)
        held, most = self.holds.amount.bytes, territory.policy.max_size
        room = max(0, after.bytes - after.foreign.bytes - held + free + freed - reserve)
        room = room if most is None else min(room, max(0, most - held))
        self.outlook = replace(after, room=room, missing=missing)
        return freed

    def _choose(
        self, rings: dict[str, RingFiles], need: Need, territory: Territory, kept: Kept
    ) -> Choice:
        """What has to go: for its age only what is too old beyond doubt."""
        now, passed = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if self.seen is None or not self._trusted.knows:  # later ones are of the clock in question
            stamps = ([one.stamp for one in files.segments] for files in rings.values())
            self._trusted.begin(now, passed, stamps)
        known = self._trusted.look(now, passed)
        choice = choose(rings, need, territory.policy, known, kept)
        self._spares &= known < now
        if known < now and not self._spares:
            by_clock = choose(rings, need, territory.policy, now, kept)
            spared = len(by_clock.victims) - len(choice.victims)
            if spared > 0:
                self._spares = True
                text = (
                    f"{territory.directory}: the system clock says {clock(now)} UTC, but by "
                    "where it was, or the newest segment, and the time since it is "
                    f"{clock(known)}: {format_count(spared)} segments are not deleted for max_age "
                    f"until the clock has said so for {format_duration(PROBATION)}"
                )
                tell(Kind.CLOCK_DOUBTED, text, segments=spared)
        return choice

    def _tell_crowded(self, territory: Territory, after: Outlook) -> None:
        """Say that nothing else may stay, because so much is held."""
        held, policy = self.holds.amount, territory.policy
        size, count = after.bytes - after.foreign.bytes, after.segments - after.foreign.segments
        rule = policy.exceeded(size, count)
        others = policy.exceeded(size - held.bytes, count - held.segments)
        told = policy, self.holds.holds
        if rule and not others and not self._custody.is_stale and told != self._crowded:
            self._crowded = told
            text = (
                f"{territory.directory}: {format_count(held.segments)} segments of "
                f"{format_size(held.bytes)} are held, and {rule} leaves room for little more: "
                f"of what is not held only the newest stays; release some of it, or raise {rule}"
            )
            tell(Kind.DOUBT, text)

    def _tell_missing(self, territory: Territory, rule: str, missing: int) -> None:
        directory = territory.directory
        if missing and not self.outlook.missing:
            text = f"{directory}: nothing is left to delete, and {format_size(missing)} are missing"
            held, stay = self.holds.amount.bytes, "packets will be lost"
            if territory.second:
                stay = "segments stay where they are"
            release = f"release some of the {format_size(held)} that are held, or " if held else ""
            text += f" for {rule}; {release}make room, or {stay}"
            tell(Kind.NOTHING_LEFT, text, missing=missing, held=held)
        elif self.outlook.missing and not missing:
            tell(Kind.ROOM_AGAIN, f"{directory}: there is room for {rule} again")

    def _see(self, space: Space) -> None:
        if self._territory.second and self._unusable:
            tell(Kind.MOVES_AGAIN, f"{self._territory.directory} can be used again")
        self.space, self._unusable = space, False

    def _give_up(self, text: str) -> None:
        """For this time: the directory cannot be used."""
        self.space, self._unusable = None, True
        if self._territory.second:
            text += "; segments stay where they are so far"
        self._complain(text)

    def _complain(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            tell(Kind.CANNOT_MOVE if self._territory.second else Kind.CANNOT_DELETE, text)


def _places(territory: Territory) -> tuple[str, str]:
    """The directory, and that with the holds."""
    return territory.directory, territory.holds_in or territory.directory


def _ahead(rate: float, total: int) -> int:
    """Bytes that are to be free besides the reserve."""
    growth = (min(rate * seconds, total * share) for seconds, share in AHEAD)
    return round(max(_least(AT_LEAST, total), *growth))


def _least(limit: tuple[int, float], total: int) -> float:
    """So many bytes, but no more than a part of the disk."""
    return min(limit[0], limit[1] * total)
