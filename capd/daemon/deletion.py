"""Deleting segments, and never anything else.

Every file is reached through the descriptors of its folders and never through a symbolic link,
and is looked at once more before it goes: a regular file, of this user or the directory's, with
no other link.  The data go before their index, and folders that became empty go with them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from itertools import groupby

from capd.catalog import DIRECTORY, is_own, regular
from capd.daemon.retention import Victim
from capd.errors import StorageError
from capd.events import Kind
from capd.journal import tell
from capd.names import INDEX_SUFFIX
from capd.units import format_count, format_size, format_time


class Deletion:
    """What came of it: the segments that are gone, and why others are not."""

    def __init__(self, directory: str) -> None:
        self.gone: list[Victim] = []
        self.refused: dict[str, str] = {}  # by reason: the first path that it was the reason for
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
                if self._delete(top, victim, owners):
                    self.gone.append(victim)
        finally:
            os.close(top)

    def tell(self) -> None:
        """Say what is gone: segments of one ring that followed each other in one line."""
        for _, group in groupby(self.gone, lambda one: (one.segment.ring, one.rule)):
            _tell_deleted(list(group))

    def _delete(self, top: int, victim: Victim, owners: set[int]) -> bool:
        """Whether its data are gone."""
        segment = victim.segment
        folders = [segment.ring, *([segment.folder] if segment.folder else [])]
        opened, at = [top], segment.path
        data = {path for path in segment.files if not path.endswith(INDEX_SUFFIX)}
        try:
            for name in folders:
                opened.append(os.open(name, DIRECTORY, dir_fd=opened[-1]))
            for at in segment.files:
                name = os.path.basename(at)
                status = regular(opened[-1], name)
                if status is not None and not is_own(status, owners):
                    self._refuse("it is not capd's any more, or has another link", at)
                    return not data
                if status is not None:  # or somebody was quicker
                    os.unlink(name, dir_fd=opened[-1])
                data.discard(at)
            if segment.folder:
                with contextlib.suppress(OSError):  # there is more in it, as a rule
                    os.rmdir(segment.folder, dir_fd=opened[-2])
        except FileNotFoundError:
            return True
        except OSError as error:
            self._refuse(error.strerror or str(error), at)
            return not data  # an index that is left belongs to nothing, and goes as such
        finally:
            for fd in opened[1:]:
                os.close(fd)
        return True

    def _refuse(self, reason: str, path: str) -> None:
        self.refused.setdefault(reason, f"{self._directory}/{path}")


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
