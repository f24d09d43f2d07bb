"""Writing into the ledger's folder: records appended, samples beside them, both bounded.

`ledger` has the names and reads; when something is written, and what if it cannot be, is for
`book` to decide.  Everything is relative to descriptors and follows no symbolic link.  A file is
replaced or deleted only if its name and its owner say that it is capd's.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from capd import folders, ledger
from capd.catalog import is_own, regular
from capd.errors import StorageError
from capd.ledger import RECORDS, RECORDS_BEFORE
from capd.losses import Loss, encode
from capd.names import LEDGER_FOLDER, TEMPORARY_SUFFIX

FILE_MODE = 0o640
SAMPLE_FILES = 200  # the newest that are kept


class Place(NamedTuple):
    """Where the ledger is."""

    directory: str  # the capture directory, which is never made here
    require_mount: bool  # write nothing while it is on the root file system


class LedgerFolder:
    """The open folder; of the daemon that has claimed the directory around it."""

    def __init__(self, fd: int, owners: set[int]) -> None:
        self._fd, self._owners = fd, owners

    def append(self, losses: Iterable[Loss]) -> None:
        """Put them on record, durably: all or none.  OSError, StorageError."""
        lines = "".join(f"{encode(loss)}\n" for loss in losses).encode()
        self._make_room(len(lines))
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(RECORDS, flags, FILE_MODE, dir_fd=self._fd)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(f"{RECORDS} is not a regular file; move it away")
            if status.st_size and os.pread(fd, 1, status.st_size - 1) != b"\n":
                lines = b"\n" + lines  # a power cut has left half a record
            _extend(fd, lines, status.st_size)
            if not status.st_size:
                os.fsync(self._fd)
        finally:
            os.close(fd)

    def save(self, name: str, samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep samples under this name, unless there are some; the oldest files go.  OSError."""
        temporary = f"{name}{TEMPORARY_SUFFIX}"
        self._remove(temporary)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, FILE_MODE, dir_fd=self._fd)
        try:
            lines = "".join(f"{json.dumps(one, default=str)}\n" for one in samples)
            _extend(fd, lines.encode(), 0)
        except OSError:
            self._remove(temporary)
            raise
        finally:
            os.close(fd)
        try:
            folders.rename(self._fd, temporary, self._fd, name)
        except FileExistsError:  # of the same loss, told by a daemon that was killed then
            self._remove(temporary)
        self._prune(name)

    def _make_room(self, size: int) -> None:
        """Begin another file of records if they would not fit into this one."""
        status = regular(self._fd, RECORDS)
        if status is None or not status.st_size or status.st_size + size <= ledger.MOST:
            return
        before = regular(self._fd, RECORDS_BEFORE)
        if before is None:
            folders.rename(self._fd, RECORDS, self._fd, RECORDS_BEFORE)
        elif is_own(before, self._owners):
            os.rename(RECORDS, RECORDS_BEFORE, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        else:
            raise StorageError(f"{RECORDS_BEFORE} is not capd's any more; move it away")

    def _prune(self, newest: str) -> None:
        """Delete the oldest files with samples, and what a daemon left that died in `save`."""
        listing = os.listdir(self._fd)
        found = sorted(name for name in listing if ledger.is_samples(name) and name != newest)
        gone = found[: max(0, len(found) + 1 - SAMPLE_FILES)]
        gone += [
            one
            for one in listing
            if ledger.is_samples(one.removesuffix(TEMPORARY_SUFFIX))
            and one.endswith(TEMPORARY_SUFFIX)
        ]
        for name in gone:
            self._remove(name)

    def _remove(self, name: str) -> None:
        status = regular(self._fd, name)
        if status is not None and is_own(status, self._owners):
            os.unlink(name, dir_fd=self._fd)


@contextlib.contextmanager
def opened(place: Place) -> Iterator[LedgerFolder]:
    """The folder, made if it is missing.  OSError; StorageError if nothing may be written there."""
    with _directory(place) as directory:
        fd = folders.subfolder(directory, LEDGER_FOLDER)
        try:
            yield LedgerFolder(fd, {os.geteuid(), os.fstat(directory).st_uid})
        finally:
            os.close(fd)


def newest(place: Place, most: int) -> list[Loss]:
    """The records among the last `most` bytes of each file.  OSError, StorageError."""
    with _directory(place), ledger.opened(place.directory) as folder:
        return [] if folder is None else ledger.records(folder, most).losses


@contextlib.contextmanager
def _directory(place: Place) -> Iterator[int]:
    directory = os.open(place.directory, folders.DIRECTORY)
    try:
        if place.require_mount and folders.is_on_root(directory):
            raise StorageError("it is on the root file system, and require_mount is set")
        yield directory
    finally:
        os.close(directory)


def _extend(fd: int, content: bytes, size: int) -> None:
    """Write it behind the first `size` bytes, durably, or leave these as they were.  OSError."""
    try:
        while content:
            content = content[os.write(fd, content) :]
        os.fdatasync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
        raise
