"""How a daemon is: the status file's format, and reading it.

The daemon writes the file every second; whoever reads it learns from `written_at` whether
that still holds.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from capd import whole_file
from capd.errors import StorageError
from capd.losses import Loss
from capd.messages import Counters
from capd.units import SECOND, about, format_count

FORMAT = 1
MOST = 32 * 2**20  # bytes: no status is longer
STALE = 5 * SECOND  # ns
BACKLOG = 8  # segments that may wait without a word


@dataclass(frozen=True)
class RingStatus:
    """One ring."""

    ring: str
    interface: str
    link: str  # "up", "down", "gone"
    phase: str  # of its worker's life
    worker: int | None  # process id
    filter: str
    filter_since: int  # ns since 1970; 0: since the ring was made
    directory: str
    ring_bytes: int
    filled: float  # share of its blocks that wait to be written
    segment: int | None  # number of the one being written
    segment_bytes: int
    since: int  # ns since 1970: when it was made
    deaths: int  # workers in a row that did not live long
    last_pause_ms: int | None  # between one worker's last block and the next one's first
    packets_per_second: float
    bits_per_second: float
    counters: Counters
    high_water: float = 0.0  # the largest share of its blocks that waited, in the last minute
    late: int = 0  # of the packets dropped: while the writer was late (disk, not processor)
    writes: list[int] = field(default_factory=list)  # by time taken (`latency`), all in all
    write_p50: int | None = None  # ns, in the last minute; None: nothing was written
    write_p99: int | None = None
    write_max: int | None = None
    flush_interval: int = 0  # ns that a packet may wait in the ring before it can be written
    reported_at: int = 0  # ns since 1970: when all this was so; 0: no worker has told yet


@dataclass(frozen=True)
class NicStatus:
    """What an interface and its driver count, since this daemon watches it."""

    interface: str
    driver: str | None
    lost: int | None  # packets that it had to drop for want of room; None: it does not tell
    counters: dict[str, int | None] = field(default_factory=dict)  # None: not there
    includes: dict[str, list[str]] = field(default_factory=dict)  # a counter, and those it contains
    note: str = ""  # what else one has to know of this driver
    at_most: bool = False  # whether `lost` is an upper bound


@dataclass(frozen=True)
class CpuBacklog:
    """A row of /proc/net/softnet_stat, since this daemon watches it; None: not told."""

    cpu: int | None
    processed: int | None
    dropped: int | None
    squeezed: int | None
    received_rps: int | None
    flow_limited: int | None


@dataclass(frozen=True)
class BacklogStatus:
    """The queues between interfaces and sockets: of the machine, not of an interface."""

    dropped: int | None
    cpus: list[CpuBacklog] = field(default_factory=list)


@dataclass(frozen=True)
class DiskStatus:
    """The file system of the capture directory."""

    directory: str
    total: int  # bytes
    free: int  # bytes that capd may use
    segments: int = 0  # finished ones
    bytes: int = 0  # that all segments take
    oldest: int | None = None  # ns since 1970: when the oldest segment begins
    missing: int = 0  # bytes that retention cannot free, as nothing is left to delete
    reach: int | None = None  # ns of traffic like the last ten minutes' that there is room for
    max_age: int | None = None  # ns: what retention allows


@dataclass(frozen=True)
class ArchiveStatus:
    """The process that indexes and compresses."""

    turns: int  # of its loop
    backlog: int  # finished segments without an index
    raw_left: int  # segments that are still to be compressed
    indexed: int  # since it started, like the following
    compressed: int
    raw_bytes: int  # of segments that were compressed, before and after
    compressed_bytes: int
    paused: bool  # for the sake of capture
    level: int  # of zstd, which a backlog lowers
    unmoved: int = 0  # segments that are to move to the second directory
    wanted: int = 0  # bytes that the next of them takes there
    moved: int = 0  # since it started, like the bytes
    moved_bytes: int = 0
    refused: int = 0  # times that there was no room for one, whatever the free space says


@dataclass(frozen=True)
class HoldsStatus:
    """What retention must leave alone, in both directories."""

    count: int  # holds in force
    segments: int = 0  # that they keep
    bytes: int = 0  # of these, on the disk
    next_expiry: int | None = None  # ns since 1970; None: none ends by itself
    troubles: list[str] = field(default_factory=list)  # why it is unclear what is held


@dataclass(frozen=True)
class HookStatus:
    """The handing over of finished segments to the [hook] command."""

    waiting: int  # finished segments that it is not done for
    running: int  # those that it is run for now
    done: int  # runs that went well since the daemon started, like the following
    failed: int  # runs that did not
    given_up: int  # segments for which it failed every time
    missed: int  # segments that were gone before it was done
    failing: bool  # whether the last run failed, or none can be begun


@dataclass(frozen=True)
class Status:
    """The daemon."""

    version: str
    pid: int
    config: str
    started_at: int  # ns since 1970
    written_at: int
    state: str  # "starting", "running", "reloading", "stopping"
    trouble: str | None
    rings: list[RingStatus] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)  # entries of the config, and why
    refused: dict[str, str] = field(default_factory=dict)  # interfaces, and why
    losses: list[Loss] = field(default_factory=list)  # the newest last
    disk: DiskStatus | None = None
    archive: ArchiveStatus | None = None
    second_disk: DiskStatus | None = None  # of the directory to which finished segments move
    nics: list[NicStatus] = field(default_factory=list)
    backlog: BacklogStatus | None = None
    alerts: list[Loss] = field(default_factory=list)  # that were raised, and are not over
    holds: HoldsStatus | None = None
    hook: HookStatus | None = None
    out: dict[str, int] = field(default_factory=dict)  # interfaces without packets: since when
    untold: list[Loss] = field(default_factory=list)  # losses that are seen, and no record yet
    format: int = FORMAT


def encode(status: Status) -> str:
    """As JSON."""
    # not by `asdict`, which copies all of it: this comes every second
    rings = [vars(ring) | {"counters": ring.counters._asdict()} for ring in status.rings]
    return json.dumps(vars(status) | {"rings": rings}, default=vars)


def decode(text: str) -> Status:
    """What `encode` gave, by this version or another; StorageError if it is something else."""
    try:
        fields = json.loads(text)
        rings = [_known(RingStatus, ring) for ring in fields["rings"]]
        fields["rings"] = [
            RingStatus(**ring | {"counters": _known_counters(ring["counters"])}) for ring in rings
        ]
        for key in ("losses", "alerts", "untold"):
            fields[key] = [Loss(**_known(Loss, loss)) for loss in fields.get(key, ())]
        for key in ("disk", "second_disk"):
            disk = fields.get(key)
            fields[key] = None if disk is None else DiskStatus(**_known(DiskStatus, disk))
        archive = fields.get("archive")
        fields["archive"] = archive and ArchiveStatus(**_known(ArchiveStatus, archive))
        holds = fields.get("holds")
        fields["holds"] = holds and HoldsStatus(**_known(HoldsStatus, holds))
        hook = fields.get("hook")
        fields["hook"] = hook and HookStatus(**_known(HookStatus, hook))
        fields["nics"] = [NicStatus(**_known(NicStatus, nic)) for nic in fields.get("nics", ())]
        fields["backlog"] = _backlog(fields.get("backlog"))
        return Status(**_known(Status, fields))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StorageError(f"cannot read the status: it is not capd's ({error})") from error


def read(path: str) -> Status:
    """The status in a file.  StorageError."""
    try:
        return decode(whole_file.read(path, MOST).decode())
    except FileNotFoundError as error:
        raise StorageError(
            f"capd does not run: there is no {path}; start it: systemctl start capd"
        ) from error
    except PermissionError as error:
        raise StorageError(
            f"cannot read {path}: only root and the members of the group capd may"
        ) from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StorageError(f"cannot read {path}: {error}") from error


def write(path: str, status: Status) -> None:
    """Put it in place of the one before, whole; a full or missing directory keeps the old one."""
    with contextlib.suppress(OSError):  # readers see how old it is
        whole_file.write(path, encode(status).encode())


def staleness(status: Status, now: int) -> str | None:
    """Words for a status that the daemon should have renewed; `now` in ns since 1970."""
    age = now - status.written_at
    if abs(age) <= STALE:
        return None
    when = f"{age // SECOND} s ago"
    if age < 0:
        when = f"{-age // SECOND} s ahead of the clock, which was set back"
    return (
        f"this is how it was {when}: capd has written no status since; see: systemctl status capd"
    )


def line(status: Status) -> str:
    """The status in one line; what a person must know comes first."""
    parts = list(_troubles(status))
    packets = sum(ring.packets_per_second for ring in status.rings)
    bits = sum(ring.bits_per_second for ring in status.rings)
    lost = sum(ring.counters.lost for ring in status.rings)
    count = len(status.rings)
    parts.append(
        f"{count} interface{'' if count == 1 else 's'}, {rate(packets)}pps, {rate(bits)}b/s, "
        f"{format_count(lost)} lost"
    )
    disk = status.disk
    if disk is not None and disk.missing:
        parts.insert(0, "the disk is full and nothing is left to delete")
    if disk is not None and disk.total:
        parts.append(f"disk {1 - disk.free / disk.total:.0%}")
        if disk.oldest is not None:
            parts[-1] += f", {about(status.written_at - disk.oldest)} kept"
    if status.archive is not None and status.archive.backlog > BACKLOG:
        parts.append(f"{format_count(status.archive.backlog)} segments wait for the archive")
    if status.archive is not None and status.archive.unmoved > BACKLOG:
        parts.append(f"{format_count(status.archive.unmoved)} segments wait to be moved")
    text = "; ".join(parts)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _troubles(status: Status) -> Iterator[str]:
    if status.trouble:
        yield "the config file is bad, the one before is in force"
    if status.alerts:
        where = {f"{loss.whose} ({loss.stage})": None for loss in status.alerts}
        yield f"alert: packets of {', '.join(where)} are lost"
    if status.refused:
        yield f"cannot capture {', '.join(status.refused)}"
    if status.holds is not None and status.holds.troubles:
        yield "it is not clear what is held"
    if status.hook is not None and status.hook.failing:
        count = format_count(status.hook.waiting)
        yield f"the hook fails, {count} segments wait for it"
    if status.waiting:
        yield f"waiting for {', '.join(status.waiting)}"


def rate(value: float) -> str:
    """A rate with three digits and the prefix that fits."""
    for prefix, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= unit:
            return f"{value / unit:.3g} {prefix}"
    return f"{value:.3g} "


def _backlog(fields: dict[str, Any] | None) -> BacklogStatus | None:
    if fields is None:
        return None
    cpus = [CpuBacklog(**_known(CpuBacklog, cpu)) for cpu in fields["cpus"]]
    return BacklogStatus(fields["dropped"], cpus)


def _known(kind: type, fields: dict[str, Any]) -> dict[str, Any]:
    """Without what a later version has added."""
    return {name: fields[name] for name in fields if name in kind.__dataclass_fields__}  # type: ignore[attr-defined]


def _known_counters(fields: dict[str, int]) -> Counters:
    return Counters(**{name: fields[name] for name in fields if name in Counters._fields})
