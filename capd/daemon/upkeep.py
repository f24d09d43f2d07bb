"""What happens to segments once they are finished: who looks after them, told what he must know.

It hands the rules of the config to the reaper, the archive process and the porter, tells them what
capture has to cope with, and says of the directory what the status shows.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from capd.config import Config, Interface, Retention
from capd.daemon.archivist import Archivist
from capd.daemon.porter import Porter, PorterPlan
from capd.daemon.reaper import Territory
from capd.daemon.recording import Recording
from capd.daemon.remains import Living, remains
from capd.daemon.retention import Limits, Policy
from capd.daemon.tier import Tier
from capd.daemon.trusted_clock import QUIET, TrustedClock
from capd.messages import ArchivePlan, ArchiveReport, Load
from capd.spool import Spool
from capd.status import ArchiveStatus, DiskStatus, HoldsStatus, HookStatus
from capd.units import format_count, format_duration, format_size


class Upkeep:
    """Of the directories that are in force; there is none before `adjust`."""

    def __init__(self, spool: Spool) -> None:
        self._rules: dict[str, str] = {}
        self._trusted = TrustedClock()
        self._storage: Tier | None = None
        self._second: Tier | None = None
        self._archivist = Archivist()
        self._porter = Porter(spool)
        self._kept = 0  # segments that the archive process had indexed and compressed
        self._files = 0
        self._written = 0
        self._seen: dict[int, int] = {}  # bytes that each ring had written, by its birth
        self._moved = 0
        self._archived: ArchiveReport | None = None  # what the archive process had said before

    def adjust(self, config: Config, recordings: Iterable[Recording]) -> list[str]:
        """Go on under this config; gives in words what changed."""
        rules = _rules(config)
        changes = [
            f"{rule}: {_told(rules, rule)}; before: {_told(self._rules, rule)}"
            for rule in sorted(rules.keys() | self._rules.keys())
            if rules.get(rule) != self._rules.get(rule)
        ]
        self._rules = rules
        entries = {one.name: one.wanted.entry for one in recordings}
        self._trusted.quiet = quiet_of(config)
        territory = territory_of(config, config.storage, entries)
        self._storage = self._adjusted(self._storage, territory)
        second = None
        if config.archive is not None:
            second = territory_of(config, config.archive, entries)
        self._second = self._adjusted(self._second, second)
        self._archivist.adjust(archive_plan(config))
        changed = self._porter.adjust(porter_plan(config))
        for tier in self._tiers:
            tier.reaper.waits = self._porter.waits
            if changed:  # it wants to know what there is
                tier.reaper.wake()
        return changes

    def _adjusted(self, tier: Tier | None, territory: Territory | None) -> Tier | None:
        """The one that looks after a territory from now on."""
        if territory is None:
            if tier is not None:
                tier.end()
            return None
        if tier is None:
            return Tier(territory, self._trusted)
        tier.adjust(territory)
        return tier

    @property
    def _tiers(self) -> list[Tier]:
        return [tier for tier in (self._storage, self._second) if tier is not None]

    def observe(self, recordings: list[Recording]) -> None:
        """Look at the counters; about once a second."""
        if self._storage is None:
            return
        directory = self._storage.territory.directory
        seen = {one.kept.born: one.counters.bytes for one in recordings}
        self._written += sum(
            max(0, size - self._seen.get(born, size)) for born, size in seen.items()
        )
        self._seen = seen
        here = [one for one in recordings if one.wanted.plan.directory == directory]
        refused = any(one.disk_full for one in here)
        self._storage.observe(self._written, refused=refused, shrunk=self._shrunk())
        self._observe_second()
        reports = [one.report for one in recordings if one.report is not None]
        filled = max((report.filled for report in reports), default=0.0)
        late = any(report.refused for report in reports)
        space = None if self._second is None else self._second.reaper.space
        reserve = None if space is None else space.reserve
        self._archivist.observe(Load(filled, late, reserve, full=refused))
        files = sum(one.counters.files for one in recordings)
        if files != self._files:
            self._files = files
            self._storage.reaper.wake()
            self._archivist.look()
        self._salvage(recordings, self._storage)
        self._observe_hook(self._storage)

    async def end(self) -> None:
        """Touch nothing any more."""
        for tier in self._tiers:
            tier.end()
        self._archivist.end()
        await asyncio.to_thread(self._porter.end)

    def _observe_second(self) -> None:
        report, before = self._archivist.report, self._archived
        self._archived = report
        if self._second is None or report is None:
            return
        come = report.moved_bytes - (0 if before is None else before.moved_bytes)
        if come:  # less than before: of another process
            self._moved += max(0, come)
            self._second.reaper.wake()
        refused = was_refused(before, report, self._second.territory.directory)
        self._second.observe(self._moved, wanted=report.wanted, refused=refused)

    def _observe_hook(self, storage: Tier) -> None:
        """Tell the porter what was seen, and have the reaper see what has become ready."""
        report, second = self._archivist.report, self._second
        kept = 0 if report is None else report.indexed + report.compressed
        if kept != self._kept and self.hook is not None:
            storage.reaper.wake()
        self._kept = kept
        self._porter.look(storage.reaper.seen, None if second is None else second.reaper.seen)
        for reaper in [tier.reaper for tier in self._tiers]:
            if reaper.seen is not None and reaper.seen.at <= self._porter.wanted:
                reaper.wake()

    def _shrunk(self) -> float:
        """The share of the bytes written that is left when they are compressed."""
        report = self._archivist.report
        if report is None or not report.raw_bytes:
            return 1.0
        return report.compressed_bytes / report.raw_bytes

    def _salvage(self, recordings: list[Recording], storage: Tier) -> None:
        """Have the archive process see to what a run that was cut off has left."""
        directory, outlook = storage.territory.directory, storage.reaper.outlook
        if outlook.directory != directory:  # it has not looked there yet
            return
        living = [
            Living(one.name, one.report.oldest if one.report is not None else None)
            for one in recordings
            if one.wanted.plan.directory == directory
        ]
        self._archivist.salvage(remains(outlook.parts, living))

    @property
    def disk(self) -> DiskStatus | None:
        """What there is to know of the capture directory."""
        return None if self._storage is None else self._storage.status

    @property
    def second_disk(self) -> DiskStatus | None:
        """The same of the second one."""
        return None if self._second is None else self._second.status

    @property
    def holds(self) -> HoldsStatus | None:
        """What is held, in both directories together."""
        if self._storage is None:
            return None
        found = [tier.reaper.holds for tier in self._tiers]
        holds, amounts = found[0].holds, [one.amount for one in found]
        ends = [hold.expires_at for hold in holds if hold.expires_at is not None]
        troubles = {doubt.text: None for one in found for doubt in one.doubts}
        return HoldsStatus(
            count=len(holds),
            segments=sum(amount.segments for amount in amounts),
            bytes=sum(amount.bytes for amount in amounts),
            next_expiry=min(ends, default=None),
            troubles=list(troubles),
        )

    @property
    def hook(self) -> HookStatus | None:
        """How the handing over of segments goes; None without a hook."""
        return self._porter.status

    @property
    def archive(self) -> ArchiveStatus | None:
        """What the archive process said last."""
        report = self._archivist.report
        if report is None:
            return None
        fields = report._asdict()
        del fields["second"]  # the config says that
        return ArchiveStatus(**fields)


def quiet_of(config: Config) -> int:
    """ns since the newest finished segment began that nobody wonders at: one more may be open."""
    intervals = [config.settings(one).rotate_interval for one in config.interface]
    return max(QUIET, 2 * max(intervals))


def was_refused(before: ArchiveReport | None, now: ArchiveReport, directory: str) -> bool:
    """Whether this second directory had no room for a segment between two reports."""
    if before is None or now.second != before.second or now.second not in ("", directory):
        return False
    return now.refused not in (0, before.refused)


def territory_of(config: Config, place: Retention, entries: dict[str, str]) -> Territory:
    """A directory of a config and its rules; `entries`: what each captured ring is there for."""
    by_entry = {one.name: _limits(one) for one in config.interface}
    named = sorted(config.interface, key=lambda one: one.name_kind != "exact")
    policy = Policy(
        max_usage=place.max_usage,
        min_free=place.min_free,
        max_size=place.max_size,
        max_files=place.max_files,
        max_age=place.max_age,
        rings={ring: by_entry[entry] for ring, entry in entries.items() if entry in by_entry},
        names=tuple((one.name, _limits(one)) for one in named if one.name_kind != "default"),
    )
    return Territory(
        place.directory,
        place.require_mount,
        policy,
        second=place is not config.storage,
        holds_in=config.storage.directory,
    )


def archive_plan(config: Config) -> ArchivePlan:
    """What a config asks of the archive process."""
    storage, compression, second = config.storage, config.compression, config.archive
    return ArchivePlan(
        storage.directory,
        storage.require_mount,
        compression.enabled,
        compression.level,
        compression.threads or max(1, (os.cpu_count() or 1) // 2),
        compression.section_size,
        second=second.directory if second is not None else "",
        second_require_mount=second is not None and second.require_mount,
    )


def porter_plan(config: Config) -> PorterPlan:
    """What a config wants to have handed over."""
    second = "" if config.archive is None else config.archive.directory
    return PorterPlan(config.storage.directory, second, config.compression.enabled, config.hook)


def _rules(config: Config) -> dict[str, str]:
    """What is kept, in words; a rule that is not set is not there."""
    words = rules_of(config.storage)
    if config.archive is not None:
        words["archive.directory"] = config.archive.directory
        words |= {f"archive.{rule}": text for rule, text in rules_of(config.archive).items()}
    for one in config.interface:
        words |= _named(f" of {one.name}", max_size=one.max_size, max_age=one.max_age)
    return words


def _told(rules: dict[str, str], rule: str) -> str:
    return rules.get(rule, "none" if rule.endswith("directory") else "no limit")


def rules_of(place: Retention) -> dict[str, str]:
    """The rules of one directory in words."""
    usage = {} if place.max_usage == 1 else {"max_usage": f"{place.max_usage * 100:.6g}%"}
    files = {} if place.max_files is None else {"max_files": format_count(place.max_files)}
    sizes = _named("", min_free=place.min_free, max_size=place.max_size, max_age=place.max_age)
    return usage | files | sizes


def _named(suffix: str, **values: int | None) -> dict[str, str]:
    words = {"max_age": format_duration}
    return {
        f"{rule}{suffix}": words.get(rule, format_size)(value)
        for rule, value in values.items()
        if value is not None
    }


def _limits(interface: Interface) -> Limits:
    return Limits(interface.max_age, interface.max_size)
