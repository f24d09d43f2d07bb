"""The metrics of the directories with captures, and of who works in them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from capd.metrics.series import Series, Subject, families, seconds
from capd.status import ArchiveStatus, DiskStatus, HoldsStatus, HookStatus, Status

LABELS = ("place", "directory")  # place: the table of the config

DISK: tuple[Series[DiskStatus], ...] = (
    Series(
        "storage_size_bytes",
        "The size of the directory's file system.",
        lambda disk: disk.total or None,
    ),
    Series(
        "storage_free_bytes",
        "What capd may use of the directory's file system; no reserve of capd's is taken off.",
        lambda disk: disk.free if disk.total else None,
    ),
    Series("storage_segments", "Finished segments.", lambda disk: disk.segments),
    Series("storage_segments_bytes", "Bytes that all segments take.", lambda disk: disk.bytes),
    Series(
        "storage_oldest_timestamp_seconds",
        "When the oldest segment begins; none while there is none.",
        lambda disk: seconds(disk.oldest),
    ),
    Series(
        "storage_missing_bytes",
        "Bytes that retention is to free and cannot, as nothing is left to delete.",
        lambda disk: disk.missing,
    ),
    Series(
        "storage_reach_seconds",
        "Time that there is room for, at the rate of the last ten minutes; none while unknown.",
        lambda disk: seconds(disk.reach),
    ),
    Series(
        "storage_max_age_seconds",
        "How long segments may be kept; none if only space is the limit.",
        lambda disk: seconds(disk.max_age),
    ),
)

ARCHIVE: tuple[Series[ArchiveStatus], ...] = (
    Series(
        "archive_backlog_segments",
        "Finished segments without an index.",
        lambda archive: archive.backlog,
    ),
    Series(
        "archive_uncompressed_segments",
        "Indexed segments that are still to be compressed.",
        lambda archive: archive.raw_left,
    ),
    Series(
        "archive_unmoved_segments",
        "Finished segments that are to move to the second directory.",
        lambda archive: archive.unmoved,
    ),
    Series(
        "archive_wanted_bytes",
        "What the next of those takes in the second directory.",
        lambda archive: archive.wanted,
    ),
    Series(
        "archive_indexed_segments_total",
        "Segments indexed since the archive process started, like the following.",
        lambda archive: archive.indexed,
    ),
    Series(
        "archive_compressed_segments_total",
        "Segments compressed.",
        lambda archive: archive.compressed,
    ),
    Series(
        "archive_raw_bytes_total",
        "Bytes of those, before.",
        lambda archive: archive.raw_bytes,
    ),
    Series(
        "archive_compressed_bytes_total",
        "Bytes of those, after.",
        lambda archive: archive.compressed_bytes,
    ),
    Series(
        "archive_moved_segments_total",
        "Segments moved to the second directory.",
        lambda archive: archive.moved,
    ),
    Series("archive_moved_bytes_total", "Bytes of those.", lambda archive: archive.moved_bytes),
    Series(
        "archive_move_refusals_total",
        "Times that the second directory had no room for one, whatever it said: a quota.",
        lambda archive: archive.refused,
    ),
    Series(
        "archive_turns_total",
        "Turns of the archive process's loop: none for a while, and it hangs.",
        lambda archive: archive.turns,
    ),
    Series(
        "archive_paused",
        "1 while it stands back for capture, else 0.",
        lambda archive: float(archive.paused),
    ),
    Series(
        "archive_level",
        "The level of zstd for what is begun now, which a backlog lowers; 0: left raw.",
        lambda archive: archive.level,
    ),
)


HOLDS: tuple[Series[HoldsStatus], ...] = (
    Series("holds", "Ranges of time that are held.", lambda holds: holds.count),
    Series("held_segments", "Segments that retention must leave alone.", lambda one: one.segments),
    Series("held_bytes", "Bytes of those, in both directories.", lambda holds: holds.bytes),
    Series(
        "hold_next_expiry_timestamp_seconds",
        "When the next hold ends by itself; none while none does.",
        lambda holds: seconds(holds.next_expiry),
    ),
    Series(
        "holds_unclear",
        "Files and folders that cannot be read as holds: nothing from before is deleted.",
        lambda holds: len(holds.troubles),
    ),
)

HOOK: tuple[Series[HookStatus], ...] = (
    Series(
        "hook_waiting_segments",
        "Finished segments that the hook's command is not done for.",
        lambda hook: hook.waiting,
    ),
    Series(
        "hook_running_segments",
        "Segments that it is run for now.",
        lambda hook: hook.running,
    ),
    Series(
        "hook_done_segments_total",
        "Segments that it was done for since the daemon started, like the following.",
        lambda hook: hook.done,
    ),
    Series("hook_failed_runs_total", "Runs that failed.", lambda hook: hook.failed),
    Series(
        "hook_given_up_segments_total",
        "Segments for which it failed every time, while it worked for others.",
        lambda hook: hook.given_up,
    ),
    Series(
        "hook_missed_segments_total",
        "Segments that were gone before it was done for them.",
        lambda hook: hook.missed,
    ),
    Series(
        "hook_failing",
        "1 if the last run failed, or none can be begun, else 0.",
        lambda hook: float(hook.failing),
    ),
)


def collect(status: Status) -> Iterator[Metric]:
    """Those of both directories, of holds, the archive process and the hook: where there are."""
    places = {"storage": status.disk, "archive": status.second_disk}
    disks = [
        Subject((place, disk.directory), disk) for place, disk in places.items() if disk is not None
    ]
    yield from families(DISK, LABELS, disks)
    archive = status.archive
    yield from families(ARCHIVE, (), [] if archive is None else [Subject((), archive)])
    holds = status.holds
    yield from families(HOLDS, (), [] if holds is None else [Subject((), holds)])
    hook = status.hook
    yield from families(HOOK, (), [] if hook is None else [Subject((), hook)])
