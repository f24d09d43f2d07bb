"""The status as people see it: a table of the rings, and what else they must know."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from capd.losses import describe
from capd.status import (
    ArchiveStatus,
    DiskStatus,
    HoldsStatus,
    HookStatus,
    RingStatus,
    Status,
    read,
    staleness,
)
from capd.units import about, format_count, format_size, format_time, readable

COLUMNS = ("interface", "packets/s", "Mb/s", "written", "lost", "ring", "segment", "files")
STAGES = ("interface", "nic", "ring", "disk", "capd", "fullest", "write ms: p50", "p99", "max")
RECENT = 5  # losses


def _text(words: str) -> Text:
    """The user capd may write the status, and root reads it on its terminal."""
    return Text(readable(words))


def _whole(headings: Iterable[str]) -> Iterator[Column]:
    """Where there is no room for a number it goes on below, instead of losing digits."""
    return (Column(heading, overflow="fold") for heading in headings)


def cells(ring: RingStatus) -> tuple[str, ...]:
    """One row, in the order of COLUMNS."""
    return (
        ring.ring,
        format_count(round(ring.packets_per_second)),
        f"{ring.bits_per_second / 1e6:,.1f}",
        format_count(ring.counters.written),
        format_count(ring.counters.lost),
        f"{ring.filled:.0%}",
        format_size(ring.segment_bytes),
        str(ring.counters.files),
    )


def table(rings: Iterable[RingStatus], title: str | None = None) -> Table:
    """All rings, in the order of their names."""
    view = Table(*_whole(COLUMNS), title=title)
    for ring in sorted(rings, key=lambda one: one.ring):
        view.add_row(*map(_text, cells(ring)))
    return view


def stages(status: Status) -> Table:
    """Where packets were lost, stage by stage, and the last minute of rings and writes."""
    view = Table(*_whole(STAGES), title="lost at, and the last minute")
    nics = {nic.interface: nic.lost for nic in status.nics}
    for ring in sorted(status.rings, key=lambda one: one.ring):
        counters, nic = ring.counters, nics.get(ring.interface)
        lost = (nic, counters.dropped, counters.disk, counters.malformed)
        writes = (ring.write_p50, ring.write_p99, ring.write_max)
        row = [
            ring.ring,
            *("unknown" if count is None else format_count(count) for count in lost),
            f"{ring.high_water:.0%}",
            *("-" if time is None else f"{time / 1e6:.3g}" for time in writes),
        ]
        view.add_row(*map(_text, row))
    return view


def before_rings(status: Status) -> Iterator[str]:
    """What was lost before it came to a ring, as far as anybody knows."""
    backlog = status.backlog
    lost = None if backlog is None else backlog.dropped
    told = "an unknown number" if lost is None else format_count(lost)
    yield f"any interface: {told} lost at the backlog, between interfaces and rings"
    for nic in status.nics:
        if nic.lost is None:
            why = nic.note or f"capd does not know its driver, {nic.driver or 'which has no name'}"
            yield f"{nic.interface}: what the NIC loses is unknown: {why}"


def text(status: Status, console: Console) -> str:
    """The page, as that console shows it."""
    with console.capture() as captured:
        console.print(page(status))
    return captured.get().removesuffix("\n")


def watch(path: str) -> None:
    """Show the status file of a daemon as it is now, for ever."""
    with Live(auto_refresh=False) as view:
        while True:
            status = read(path)
            stale = staleness(status, time.time_ns())
            view.update(Group(page(status), *([_text(stale)] if stale else [])), refresh=True)
            time.sleep(1)


def page(status: Status) -> RenderableType:
    """Everything that `capd status` shows."""
    return Group(
        _text(f"capd {status.version}, process {status.pid}: {status.state}"), *_rest(status)
    )


def _rest(status: Status) -> Iterator[RenderableType]:
    if status.trouble:
        yield _text(status.trouble)
    yield table(status.rings)
    yield stages(status)
    yield from map(_text, before_rings(status))
    for ring in status.rings:
        if ring.link != "up" or ring.phase != "running":
            yield _text(f"{ring.ring}: link {ring.link}, worker {ring.phase}")
    for name, reason in (status.refused | status.waiting).items():
        yield _text(f"{name}: {reason}")
    for disk in (status.disk, status.second_disk):
        if disk is not None:
            yield from map(_text, _kept(disk, status.written_at))
    yield from map(_text, _held(status.holds))
    yield from map(_text, _afterwards(status))
    for alert in status.alerts:
        since, count = format_time(alert.since), format_count(alert.packets or 0)
        yield _text(f"alert: {alert.whose} lost {count} packets at the {alert.stage} since {since}")
    for loss in status.losses[-RECENT:]:
        yield _text(f"{loss.whose}: {describe(loss)}")


def _kept(disk: DiskStatus, now: int) -> Iterator[str]:
    """How full a disk is, how far back the archive on it goes, and how far it can."""
    used = 1 - disk.free / disk.total if disk.total else 1
    yield f"{disk.directory}: disk {used:.0%} used, {format_size(disk.free)} free"
    if disk.oldest is not None:
        yield (
            f"{format_count(disk.segments)} segments of {format_size(disk.bytes)}, the oldest "
            f"from {format_time(disk.oldest)}, {about(now - disk.oldest)} ago"
        )
    if disk.reach is not None:
        allowed = (
            "" if disk.max_age is None else f" of the {about(disk.max_age)} that max_age allows"
        )
        yield f"at the rate of the last minutes there is room for {about(disk.reach)}{allowed}"
    if disk.missing:
        yield f"nothing is left to delete, and {format_size(disk.missing)} are missing: make room"


def _held(holds: HoldsStatus | None) -> Iterator[str]:
    """What retention leaves alone; nothing, where nothing is held."""
    if holds is None:
        return
    if holds.count or holds.segments:
        text = f"{format_count(holds.count)} hold{'' if holds.count == 1 else 's'}: "
        text += f"{format_count(holds.segments)} segments of {format_size(holds.bytes)} are held"
        if holds.next_expiry is not None:
            text += f"; the next ends at {format_time(holds.next_expiry)}"
        yield text
    yield from holds.troubles


def _afterwards(status: Status) -> Iterator[str]:
    """What is done with finished segments."""
    if status.archive is not None:
        yield _archive(status.archive)
    if status.hook is not None:
        yield _hook(status.hook)


def _archive(archive: ArchiveStatus) -> str:
    """How far the archive process has come."""
    waits = f"{format_count(archive.backlog)} segments wait for their index"
    if archive.raw_left:
        waits += f", {format_count(archive.raw_left)} to be compressed"
    if archive.compressed_bytes:
        ratio = archive.raw_bytes / archive.compressed_bytes
        waits += f"; compressed {format_size(archive.raw_bytes)} to 1/{ratio:.2f}"
        waits += f" at level {archive.level}"
    if archive.moved or archive.unmoved:
        waits += f"; moved {format_count(archive.moved)} of {format_size(archive.moved_bytes)}"
        waits += f", {format_count(archive.unmoved)} to be moved"
    return waits + ("; it waits for the capture" if archive.paused else "")


def _hook(hook: HookStatus) -> str:
    """How far segments are handed over."""
    text = f"hook: done for {format_count(hook.done)} segments, {format_count(hook.waiting)} wait"
    if hook.failed:
        text += f"; failed {format_count(hook.failed)} times"
    if hook.given_up or hook.missed:
        text += f"; never done for {format_count(hook.given_up + hook.missed)}"
        text += f", of which {format_count(hook.missed)} were deleted before it could be"
    return text + ("; it fails now" if hook.failing else "")
