"""How many files a process may have open: all that it may have, not the 1024 of a shell.

And what is not to take the last of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource

from capd.errors import StorageError

SPARE = 40  # for all that is open beside what was asked for
FOR_WORKERS = 16  # of the daemon's, for them and what else it cannot do without; three are one's


def allow_most() -> None:
    """Raise this process's own limit, and that of what it starts, as far as it may."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != most:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may refuse it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def leave_for_workers(fd: int) -> None:
    """OSError if this is one of the last: a ring that no worker can drain is worth nothing."""
    if fd >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FOR_WORKERS:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def open_to_measure(path: str) -> int:
    """A descriptor for reading.  OSError, also where only the last are left."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        leave_for_workers(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def require_spare(taken: int, wanted: int) -> None:
    """StorageError if, with the descriptor `taken`, too few are left; `wanted`: how many in all."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if taken >= limit - SPARE:  # the kernel gives the lowest one that is free
        raise StorageError(
            f"cannot hold all segments of that time open: a process may open {limit} files here; "
            f"allow more (ulimit -n {wanted + 2 * SPARE} is enough), or ask for less time or for "
            "one interface"
        )
