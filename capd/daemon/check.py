"""`capd check`: what a config comes to on this machine, and what in it is worth a warning.

Of a config with a problem there is nothing to tell: `preflight` says what is wrong with it.
"""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from capd import ring
from capd.config import Alert, Config, Retention, without_effect
from capd.daemon import links, plans
from capd.daemon.confinement import (
    is_the_services,
    rings_kept,
    try_config,
    try_directory,
    try_program,
)
from capd.daemon.directory import directory_doubts, existing, mount_doubts, mount_point
from capd.daemon.preflight import Usable, examine, memory_in_rings, reasons
from capd.daemon.retention_doubts import retention_doubts
from capd.daemon.ringplan import RingPlan
from capd.daemon.ringroom import ring_doubts, ring_seconds
from capd.daemon.upkeep import territory_of
from capd.errors import ConfigError, StorageError
from capd.units import DURATIONS, SECOND, about, format_count, format_duration, format_size, shown

WHOLE_FRAMES = 65535  # bytes: the longest frame but for those that offloads merge
MAX_FILTER = 1000  # characters of a filter that are worth reading here

_WIDTH = 98
_LABEL = 18


@dataclass(frozen=True)
class Outcome:
    """What there is to say about a config that can be used."""

    text: str
    warnings: tuple[str, ...]


def check(path: str) -> Outcome:
    """What the config in this file comes to.  ConfigError."""
    held = memory_in_rings()
    usable = _examined(path, held)
    config = usable.config
    doubts = [*warnings(usable), *_store_doubts(usable.resolved), *_untried(config)]
    doubts += [*_second_doubts(config), *_command_doubts(config)]
    tables = [
        (_heading(usable, wanted), settings(wanted)) for wanted in usable.resolved.rings.values()
    ]
    tables.append(("all together", totals(config, usable.resolved, held)))
    text = "\n\n".join("\n".join(_lines(heading, rows)) for heading, rows in tables)
    return Outcome(text, tuple(f"{path}: warning: {warning}" for warning in doubts))


def _examined(path: str, held: int) -> Usable:
    unread = []
    try:
        try_config(path)
    except StorageError as error:
        unread.append(f"{path}: {error}")
    try:
        usable = examine(path, held, try_directory)
    except ConfigError as error:
        raise ConfigError((*unread, *error.problems)) from error
    if unread:
        raise ConfigError(tuple(unread))
    return usable


def _lines(heading: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield heading
    for label, value in rows:
        yield textwrap.fill(
            value,
            _WIDTH,
            initial_indent=f"  {label:<{_LABEL}}",
            subsequent_indent=" " * (_LABEL + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )


def _heading(usable: Usable, wanted: RingPlan) -> str:
    name = wanted.plan.source.interface
    for choice in links.choose(usable.config, usable.present):
        if choice.link and choice.link.name == name and choice.interface.name != name:
            return f"{name}, because of {shown(choice.interface.name)}"
    return name


def settings(wanted: RingPlan) -> Iterator[tuple[str, str]]:
    """The effective settings of one interface, by their keys."""
    plan, source, shape = wanted.plan, wanted.plan.source, wanted.plan.geometry
    text = source.filter
    if len(text) > MAX_FILTER:
        text = f"{text[:MAX_FILTER]} ... ({format_count(len(text))} characters in all)"
    yield "filter", text or "none: everything is recorded"
    cut = "whole packets" if source.snaplen >= WHOLE_FRAMES else "longer packets are cut"
    yield "snaplen", f"{format_size(source.snaplen)}: {cut}"
    yield "promiscuous", "yes" if wanted.promiscuous else "no"
    yield "record_direction", "yes" if source.record_direction else "no"
    held = ring_seconds(wanted)
    holds = "the link does not tell its speed"
    if held is not None and source.speed:
        holds = f"holds {held:.2g} s at the link's {source.speed / 1e9:g} Gb/s"
    blocks = f"{shape.blocks} blocks of {format_size(shape.block_size)}"
    yield "ring_size", f"{format_size(shape.size)} ({blocks}); {holds}"
    if plan.cpus:
        yield "cpus", ", ".join(map(str, plan.cpus))
    yield "rotate_size", format_size(plan.rotate_size)
    yield "rotate_interval", f"{format_duration(plan.rotate_interval)}, at its multiples in UTC"
    flush = format_duration(shape.retire_ms * DURATIONS["ms"])
    yield "flush_interval", f"{flush}; a packet is in its file within twice that"


def totals(config: Config, resolved: plans.Resolved, held: int) -> Iterator[tuple[str, str]]:
    """What all interfaces come to together; `held`: bytes of memory that rings have now."""
    storage = config.storage
    memory = sum(wanted.plan.geometry.size for wanted in resolved.rings.values())
    available = f"{format_size(ring.available_memory() + held)} available"
    if held:
        available += f", {format_size(held)} of it in the rings of the capd that runs"
    yield "memory", f"{format_size(memory)} of rings, {available}"
    space = os.statvfs(existing(storage.directory))
    free = space.f_bavail * space.f_frsize
    mount = mount_point(storage.directory)
    yield "disk", f"{format_size(free)} free for {storage.directory} (mounted at {mount})"
    speeds = [wanted.plan.source.speed for wanted in resolved.rings.values()]
    rate = sum(speed for speed in speeds if speed) / 8
    if rate:
        full = (
            f"full in {about(round(free / rate * SECOND))} when every link is full in one direction"
        )
        rest = "" if all(speeds) else ", not counting links that do not tell their speed"
        yield "worst case", f"{full} ({rate / 1e9:.3g} GB/s{rest}); then the oldest goes"
    yield "retention", _rules(config, storage)
    yield from _second(config)
    yield "power cut", f"costs at most {format_duration(storage.sync_interval)} and one write"
    yield "alert", _alert(config.alert)
    if config.hook.segment_closed is not None:
        yield "hook", _hook(config)
    if config.metrics.listen is not None:
        yield "metrics", f"http://{config.metrics.listen}/metrics, by the service capd-metrics"


def _alert(alert: Alert) -> str:
    """Who is told of how much loss."""
    packets = "each packet" if alert.packets == 1 else f"{format_count(alert.packets)} packets"
    told = "in the journal only" if alert.command is None else f"by {shlex.join(alert.command)}"
    return f"of {packets} lost at one stage within {format_duration(alert.per)}: {told}"


def _hook(config: Config) -> str:
    """What is run for finished files."""
    hook = config.hook
    kept = "files may be deleted before"
    if hook.keep_until_done:
        kept = "files are kept until then, while the disk has room"
    command = shlex.join(hook.segment_closed or ())
    return f"{command}, for each finished file, {hook.parallel} at a time; {kept}"


def _second(config: Config) -> Iterator[tuple[str, str]]:
    """The second directory, if there is one."""
    second = config.archive
    if second is None:
        return
    try:
        space = os.statvfs(second.directory)
    except OSError:  # there is a warning of it
        yield "archive", f"{second.directory}, which cannot be used now: nothing moves there"
        return
    free, mount = space.f_bavail * space.f_frsize, mount_point(second.directory)
    yield "archive", f"{format_size(free)} free for {second.directory} (mounted at {mount})"
    yield "", f"finished files move there; {_rules(config, second)}"


def _rules(config: Config, place: Retention) -> str:
    """The rules of retention of a directory in words."""
    space = os.statvfs(existing(place.directory))
    policy = territory_of(config, place, {}).policy
    total = space.f_blocks * space.f_frsize
    reserve = policy.reserve(total)
    rules = []
    if reserve:
        rules.append(f"{format_size(reserve)} of the disk stay free ({policy.space_rule(total)})")
    if place.max_size is not None:
        rules.append(f"no more than {format_size(place.max_size)}")
    if place.max_files is not None:
        rules.append(f"no more than {format_count(place.max_files)} files")
    if place.max_age is not None:
        rules.append(f"nothing older than {format_duration(place.max_age)}")
    for one in config.interface:
        if one.max_size is not None:
            rules.append(f"of {shown(one.name)} no more than {format_size(one.max_size)}")
        if one.max_age is not None:
            rules.append(f"of {shown(one.name)} nothing older than {format_duration(one.max_age)}")
    if not rules:
        return "nothing is ever deleted: a full disk ends the recording"
    return f"the oldest goes, so that {'; '.join(rules)}"


def _store_doubts(resolved: plans.Resolved) -> Iterator[str]:
    """More rings than systemd takes: it closes the others, and tells nobody."""
    kept, wanted = rings_kept(), len(resolved.rings)
    if kept is not None and kept < wanted:
        yield (
            f"of the rings of {wanted} interfaces systemd keeps {kept} over a restart, and the "
            "others lose packets then; systemctl edit capd: below [Service] "
            f"FileDescriptorStoreMax={4 * wanted}"
        )


def _untried(config: Config) -> Iterator[str]:
    """Directories of which it is not known whether the service can use them."""
    for key, directory in zip(("storage", "archive"), config.directories, strict=False):
        if is_the_services(directory):
            yield (
                f"{key}.directory: {directory} was not tried, as it belongs to the user of the "
                "service; run this as root"
            )


def _second_doubts(config: Config) -> Iterator[str]:
    """Why nothing would move to the second directory: no reason not to capture."""
    second = config.archive
    if second is None:
        return
    if not os.path.lexists(second.directory):
        yield (
            f"archive.directory: there is no {second.directory}, so that nothing moves there; "
            f"mount its disk, or: install -d -m 750 -o capd -g capd {shlex.quote(second.directory)}"
        )
        return
    try:
        try_directory(second.directory, require_mount=second.require_mount)
    except StorageError as error:
        yield from (f"archive.directory: {each}" for each in reasons(error))
        return
    key, require_mount = "archive.directory", second.require_mount
    yield from mount_doubts(key, second.directory, require_mount=require_mount)
    first = existing(config.storage.directory)
    if os.stat(first).st_dev == os.stat(second.directory).st_dev:
        yield (
            f"{key}: {second.directory} is on the disk of {config.storage.directory}: "
            "what moves there takes as much room as before"
        )


def _command_doubts(config: Config) -> Iterator[str]:
    """Commands that will never run: what they are for is not done, and no reason not to capture."""
    commands = {
        "alert.command": config.alert.command,
        "hook.segment_closed": config.hook.segment_closed,
    }
    for key, command in commands.items():
        if command is not None:
            try:
                try_program(command[0])
            except StorageError as error:
                yield f"{key}: {error}"


def warnings(usable: Usable) -> Iterator[str]:
    """What works and is probably not meant."""
    config, present, resolved = usable.config, usable.present, usable.resolved
    for name, reason in resolved.waiting.items():
        yield f"{shown(name)}: {reason}"
    for name, reason in resolved.refused.items():
        yield f"{name}: cannot capture: {reason}"
    for name, wanted in resolved.rings.items():
        yield from _doubts(present, name, wanted, resolved)
    storage = config.storage
    yield from directory_doubts(storage.directory, require_mount=storage.require_mount)
    yield from retention_doubts(config, resolved)
    yield from without_effect(config)


def _doubts(
    present: links.Links, name: str, wanted: RingPlan, resolved: plans.Resolved
) -> Iterator[str]:
    bond = present.by_name[name].bond
    if bond in resolved.rings:
        yield f"{name} is a member of {bond}, which is captured too: its packets come twice"
    # a bond has what its members have merged
    members = [link.name for link in present.by_name.values() if link.bond == name]
    for lower in members or [name]:
        for offload in links.merging_offloads(present.by_name[lower]):
            yield (
                f"{name}: packets are merged before they are recorded, as {offload} is on; "
                f"to have them as on the wire: ethtool -K {lower} {offload} off"
            )
    missing = set(wanted.plan.cpus) - os.sched_getaffinity(0)
    if missing:
        which = ", ".join(map(str, sorted(missing)))
        yield f"{name}: cpus: this machine has no processor {which}, or not for capd"
    yield from ring_doubts(name, wanted)
