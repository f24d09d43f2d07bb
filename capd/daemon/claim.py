"""Directories that this daemon alone records into, and deletes in.

Two daemons in one directory would take each other's unfinished files for those of a dead run, and
each would delete by its own rules.  The claim is a lock on the directory itself: it leaves no file
behind, and ends with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from capd.catalog import DIRECTORY
from capd.errors import StorageError

# What file systems say that know no locks; there it has to do without.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Claims:
    """Those of this process."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def take(self, directory: str) -> None:
        """Claim a directory that is there.  StorageError if another daemon has it."""
        if directory in self._held:
            return
        try:
            fd = os.open(directory, DIRECTORY)
        except OSError as error:
            raise StorageError(f"cannot use {directory}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise StorageError(
                f"cannot use {directory}: another capd records into it; name a directory of its own"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(fd)
                raise StorageError(f"cannot lock {directory}: {error.strerror}") from error
        self._held[directory] = fd

    def keep_only(self, directories: set[str]) -> None:
        """Let go of all others."""
        for directory in self._held.keys() - directories:
            with contextlib.suppress(OSError):
                os.close(self._held.pop(directory))
