"""One dated folder of a ring, as the archive process uses it.

Every name is opened relative to the folder's descriptor and never through a symbolic link;
only files that are capd's own are read or removed.  In which order that happens, so that
nothing is lost at any moment, is `keeping.py`'s business.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from capd import catalog

FILE_MODE = 0o640


class File(NamedTuple):
    """An open file."""

    fd: int
    direct: bool  # whether it is read and written past the page cache
    status: os.stat_result


class Folder:
    """An open folder."""

    def __init__(self, fd: int, owners: set[int]) -> None:
        self._fd, self._owners = fd, owners

    @contextmanager
    def reading(self, name: str) -> Iterator[File | None]:
        """A file of capd's; None if there is none of that name."""
        file = self._open(name)
        try:
            yield file
        finally:
            if file is not None:
                os.close(file.fd)

    @contextmanager
    def creating(self, name: str) -> Iterator[File]:
        """A new file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        direct = True
        try:
            fd = os.open(name, flags | os.O_DIRECT, FILE_MODE, dir_fd=self._fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            direct = False
            # The file system says that it does not know O_DIRECT after it made the file.
            os.unlink(name, dir_fd=self._fd)
            fd = os.open(name, flags, FILE_MODE, dir_fd=self._fd)
        try:
            yield File(fd, direct, os.fstat(fd))
        finally:
            os.close(fd)

    def has(self, name: str, status: os.stat_result | None = None) -> bool:
        """Whether there is a file of capd's of that name, and if told, whether it is this one."""
        found = catalog.regular(self._fd, name)
        if found is None or not catalog.is_own(found, self._owners):
            return False
        return status is None or os.path.samestat(found, status)

    def rename(self, before: str, after: str) -> None:
        """Give a file its final name."""
        os.rename(before, after, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, name: str) -> bool:
        """Remove a file of capd's; False if there is none."""
        if not self.has(name):
            return False
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return False
        return True

    def sync(self) -> None:
        """Make names durable."""
        os.fsync(self._fd)

    def _open(self, name: str) -> File | None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        if not self.has(name):
            return None
        try:
            try:
                fd, direct = os.open(name, flags | os.O_DIRECT, dir_fd=self._fd), True
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                fd, direct = os.open(name, flags, dir_fd=self._fd), False
        except FileNotFoundError:
            return None
        return File(fd, direct, os.fstat(fd))


def remove_empty(directory: str, path: str) -> None:
    """Remove the folder at `path` if nothing is in it."""
    parent, _, name = path.rpartition("/")
    found = _open_below(directory, parent)
    if found is not None:
        with contextlib.suppress(OSError):  # there is more in it, as a rule
            os.rmdir(name, dir_fd=found[0])
        os.close(found[0])


@contextmanager
def opened(directory: str, path: str) -> Iterator[Folder | None]:
    """The folder at `path`, such as `eth0/2026-07-21`, below `directory`; None if it is gone."""
    found = _open_below(directory, path)
    if found is None:
        yield None
        return
    fd, owners = found
    try:
        yield Folder(fd, owners)
    finally:
        os.close(fd)


def _open_below(directory: str, path: str) -> tuple[int, set[int]] | None:
    try:
        fd = os.open(directory, catalog.DIRECTORY)
        owners = {os.geteuid(), os.fstat(fd).st_uid}
        for name in path.split("/"):
            parent = fd
            try:
                fd = os.open(name, catalog.DIRECTORY, dir_fd=parent)
            finally:
                os.close(parent)
    except FileNotFoundError:
        return None
    return fd, owners
