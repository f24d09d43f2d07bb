"""How many files a process may have open: all that it may have, not the 1024 of a shell."""

from __future__ import annotations

import contextlib
import resource

from capd.errors import StorageError

SPARE = 40  # for all that is open beside what was asked for


def allow_most() -> None:
    """Raise this process's own limit, and that of what it starts, as far as it may."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != most:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may refuse it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def require_spare(taken: int, wanted: int) -> None:
    """StorageError if, with the descriptor `taken`, too few are left; `wanted`: how many in all."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if taken >= limit - SPARE:  # the kernel gives the lowest one that is free
        raise StorageError(
            f"cannot hold all segments of that time open: a process may open {limit} files here; "
            f"allow more (ulimit -n {wanted + 2 * SPARE} is enough), or ask for less time or for "
            "one interface"
        )
