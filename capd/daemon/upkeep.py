"""What happens to segments once they are finished: who looks after them, told what he must know.

It hands the rules of the config to the reaper, tells him how fast the disk fills, and says of the
directory what the status shows.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable

from capd.config import Config, Interface
from capd.daemon.reaper import Reaper, Territory
from capd.daemon.recording import Recording
from capd.daemon.retention import Limits, Policy
from capd.status import DiskStatus
from capd.units import SECOND, format_count, format_duration, format_size

NONE = "no limit"
PATIENT = 600.0  # seconds over which the rate is averaged that tells how far the room goes


class Upkeep:
    """Of the capture directory that is in force; there is none before `adjust`."""

    def __init__(self) -> None:
        self._territory: Territory | None = None
        self._rules: dict[str, str] = {}
        self._reaper: Reaper | None = None
        self._files = 0
        self._written = 0
        self._seen: dict[int, int] = {}  # bytes that each ring had written, by its birth
        self._samples: deque[tuple[float, int]] = deque()  # monotonic, bytes written so far

    def adjust(self, config: Config, recordings: Iterable[Recording]) -> list[str]:
        """Go on under this config; gives in words what changed."""
        rules = _rules(config)
        changes = [
            f"{rule}: {rules.get(rule, NONE)}; before: {self._rules.get(rule, NONE)}"
            for rule in sorted(rules.keys() | self._rules.keys())
            if rules.get(rule) != self._rules.get(rule)
        ]
        self._rules = rules
        territory = territory_of(config, {one.name: one.wanted.entry for one in recordings})
        if self._reaper is None:
            self._reaper = Reaper(territory)
            self._reaper.start()
        elif territory != self._territory:
            self._reaper.adjust(territory)
        self._territory = territory
        return changes

    def observe(self, recordings: list[Recording]) -> None:
        """Look at the counters; about once a second."""
        now = time.monotonic()
        seen = {one.kept.born: one.counters.bytes for one in recordings}
        self._written += sum(
            max(0, size - self._seen.get(born, size)) for born, size in seen.items()
        )
        self._seen = seen
        while self._samples and now - self._samples[0][0] > PATIENT:
            self._samples.popleft()
        before = self._samples[-1] if self._samples else (now - 1, self._written)
        self._samples.append((now, self._written))
        files = sum(one.counters.files for one in recordings)
        if self._reaper is None:
            return
        rate = (self._written - before[1]) / max(now - before[0], 0.001)
        self._reaper.observe(rate, refused=any(one.disk_full for one in recordings))
        if files != self._files:
            self._files = files
            self._reaper.wake()

    def end(self) -> None:
        """Touch nothing any more."""
        if self._reaper is not None:
            self._reaper.end()

    @property
    def disk(self) -> DiskStatus | None:
        """What there is to know of the directory."""
        if self._territory is None or self._reaper is None:
            return None
        directory = self._territory.directory
        try:
            space = os.statvfs(directory)
        except OSError:
            return None
        outlook = self._reaper.outlook
        return DiskStatus(
            directory,
            space.f_blocks * space.f_frsize,
            space.f_bavail * space.f_frsize,
            outlook.segments,
            outlook.bytes,
            min(outlook.oldest.values(), default=None),
            outlook.missing,
            self._reach(outlook.room),
            self._territory.policy.max_age,
        )

    def _reach(self, room: int) -> int | None:
        """ns for which this many bytes are enough at the rate of the last minutes."""
        (began, before), (now, written) = self._samples[0], self._samples[-1]
        if written == before:
            return None
        return round(room * (now - began) / (written - before) * SECOND)


def territory_of(config: Config, entries: dict[str, str]) -> Territory:
    """The directory of a config and its rules; `entries`: what each captured ring is there for."""
    storage = config.storage
    by_entry = {one.name: _limits(one) for one in config.interface}
    named = sorted(config.interface, key=lambda one: one.name_kind != "exact")
    policy = Policy(
        max_usage=storage.max_usage,
        min_free=storage.min_free,
        max_size=storage.max_size,
        max_files=storage.max_files,
        max_age=storage.max_age,
        rings={ring: by_entry[entry] for ring, entry in entries.items() if entry in by_entry},
        names=tuple((one.name, _limits(one)) for one in named if one.name_kind != "default"),
    )
    return Territory(storage.directory, storage.require_mount, policy)


def _rules(config: Config) -> dict[str, str]:
    """What is kept, in words; a rule that is not set is not there."""
    storage = config.storage
    words = {
        "max_usage": None if storage.max_usage == 1 else f"{storage.max_usage * 100:.6g}%",
        "min_free": _worded(storage.min_free, format_size),
        "max_size": _worded(storage.max_size, format_size),
        "max_files": _worded(storage.max_files, format_count),
        "max_age": _worded(storage.max_age, format_duration),
    }
    for one in config.interface:
        words[f"max_size of {one.name}"] = _worded(one.max_size, format_size)
        words[f"max_age of {one.name}"] = _worded(one.max_age, format_duration)
    return {rule: text for rule, text in words.items() if text is not None}


def _worded(value: int | None, words: Callable[[int], str]) -> str | None:
    return None if value is None else words(value)


def _limits(interface: Interface) -> Limits:
    return Limits(interface.max_age, interface.max_size)
