"""Deleting segments, and never anything else.

Every file is reached through the descriptors of its folders and never through a symbolic link,
and is looked at once more before it goes: a regular file, of this user or the directory's, with
no other link.  The data go before their index, and folders that became empty go with them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from itertools import groupby

from capd.catalog import DIRECTORY, STAT_BLOCK, Segment, is_own, regular
from capd.daemon.outlook import Key, key_of
from capd.daemon.retention import Victim
from capd.errors import StorageError
from capd.events import Kind
from capd.journal import tell
from capd.names import COMPRESSED_SUFFIX, INDEX_SUFFIX, SEGMENT_SUFFIX
from capd.units import format_count, format_size, format_time


class Deletion:
    """What came of it: the segments that it deleted, and why others are still there."""

    def __init__(self, directory: str) -> None:
        self.gone: list[Victim] = []  # of the size that was deleted
        self.freed = 0  # bytes
        self.vanished = 0  # segments that have moved, or got another form, since they were seen
        self.refused: dict[str, str] = {}  # by reason: the first path that it was the reason for
        self.stuck: dict[Key, str] = {}  # segments whose data are still there, and why
        self._directory = directory

    def run(self, victims: Iterable[Victim], is_over: Callable[[], bool]) -> None:
        """Delete these, in their order, until `is_over`.  StorageError without the directory."""
        try:
            top = os.open(self._directory, DIRECTORY)
        except OSError as error:
            raise StorageError(f"cannot open {self._directory}: {error.strerror}") from error
        try:
            owners = {os.geteuid(), os.fstat(top).st_uid}
            for victim in victims:
                if is_over():
                    return
                self._delete(top, victim, owners)
        finally:
            os.close(top)

    def tell(self) -> None:
        """Say what is gone: segments of one ring that followed each other in one line."""
        for _, group in groupby(self.gone, lambda one: (one.segment.ring, one.rule)):
            _tell_deleted(list(group))

    def _delete(self, top: int, victim: Victim, owners: set[int]) -> None:
        """Delete what there is of it, and know what that was."""
        segment, bytes_of = victim.segment, dict[str, int]()
        folders = [segment.ring, *([segment.folder] if segment.folder else [])]
        opened, at, why, elsewhere = [top], segment.path, "", False
        try:
            for name in folders:
                opened.append(os.open(name, DIRECTORY, dir_fd=opened[-1]))
            for at in segment.files:
                _unlink(opened[-1], at, owners, bytes_of)
            elsewhere = _is_compressed_since(opened[-1], segment)
            if segment.folder:
                with contextlib.suppress(OSError):  # there is more in it, as a rule
                    os.rmdir(segment.folder, dir_fd=opened[-2])
        except FileNotFoundError:
            pass  # a folder: somebody was quicker
        except OSError as error:
            why = error.strerror or str(error)
            self.refused.setdefault(why, f"{self._directory}/{at}")
        finally:
            for fd in opened[1:]:
                os.close(fd)
        freed = sum(bytes_of.values())
        self.freed += freed
        # An index that is left belongs to nothing, and goes as such.
        if why and not at.endswith(INDEX_SUFFIX):
            self.stuck[key_of(segment)] = why
            return
        if elsewhere or all(path.endswith(INDEX_SUFFIX) for path in bytes_of):
            self.vanished += 1
        else:
            self.gone.append(victim._replace(segment=segment._replace(size=freed)))


def _unlink(folder: int, path: str, owners: set[int], bytes_of: dict[str, int]) -> None:
    """Delete one file, unless somebody was quicker; `bytes_of` gets what it took.  OSError."""
    name = os.path.basename(path)
    status = regular(folder, name)
    if status is None:
        return
    if not is_own(status, owners):
        raise PermissionError(errno.EPERM, "it is not capd's any more, or has another link")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
        bytes_of[path] = status.st_blocks * STAT_BLOCK


def _is_compressed_since(folder: int, segment: Segment) -> bool:
    """Whether the archive process has given it another form since it was seen.  OSError."""
    if SEGMENT_SUFFIX not in segment.suffixes or COMPRESSED_SUFFIX in segment.suffixes:
        return False
    return regular(folder, segment.name._replace(suffix=COMPRESSED_SUFFIX).file) is not None


def _tell_deleted(victims: list[Victim]) -> None:
    """Segments of one ring that followed each other, because of one rule."""
    first, last, rule = victims[0].segment, victims[-1].segment, victims[0].rule
    size = sum(victim.segment.size for victim in victims)
    which = f"segment {first.seq}, which begins at {format_time(first.stamp)}"
    if first is not last:
        which = (
            f"{format_count(len(victims))} segments, {first.seq} to {last.seq}, which begin "
            f"from {format_time(first.stamp)} to {format_time(last.stamp)}"
        )
    tell(
        Kind.DELETED,
        f"deleted for {rule}: {which}: {format_size(size)}",
        interface=first.ring,
        rule=rule,
        first=first.seq,
        last=last.seq,
        since=format_time(first.stamp),
        until=format_time(last.stamp),
        segments=len(victims),
        bytes=size,
    )
