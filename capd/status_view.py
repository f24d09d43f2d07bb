"""The status as people see it: a table of the rings, and what else they must know."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from capd.losses import describe
from capd.status import ArchiveStatus, DiskStatus, RingStatus, Status, read, staleness
from capd.units import about, format_count, format_size, format_time

COLUMNS = ("interface", "packets/s", "Mb/s", "written", "lost", "ring", "segment", "files")
RECENT = 5  # losses


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
    view = Table(*COLUMNS, title=title)
    for ring in sorted(rings, key=lambda one: one.ring):
        view.add_row(*map(Text, cells(ring)))
    return view


def show(status: Status) -> None:
    """Print it."""
    Console().print(page(status))


def watch(path: str) -> None:
    """Show the status file of a daemon as it is now, for ever."""
    with Live(auto_refresh=False) as view:
        while True:
            status = read(path)
            stale = staleness(status, time.time_ns())
            view.update(Group(page(status), *([Text(stale)] if stale else [])), refresh=True)
            time.sleep(1)


def page(status: Status) -> RenderableType:
    """Everything that `capd status` shows."""
    return Group(
        Text(f"capd {status.version}, process {status.pid}: {status.state}"), *_rest(status)
    )


def _rest(status: Status) -> Iterator[RenderableType]:
    if status.trouble:
        yield Text(status.trouble)
    yield table(status.rings)
    for ring in status.rings:
        if ring.link != "up" or ring.phase != "running":
            yield Text(f"{ring.ring}: link {ring.link}, worker {ring.phase}")
    for name, reason in (status.refused | status.waiting).items():
        yield Text(f"{name}: {reason}")
    for disk in (status.disk, status.second_disk):
        if disk is not None:
            used = 1 - disk.free / disk.total if disk.total else 1
            yield Text(f"{disk.directory}: disk {used:.0%} used, {format_size(disk.free)} free")
            yield from map(Text, _kept(disk, status.written_at))
    if status.archive is not None:
        yield Text(_archive(status.archive))
    for loss in status.losses[-RECENT:]:
        yield Text(f"{loss.interface}: {describe(loss)}")


def _kept(disk: DiskStatus, now: int) -> Iterator[str]:
    """How far back the archive goes, and how far it can."""
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
