"""How many files a process may have open: all that it may have, not the 1024 of a shell."""

from __future__ import annotations

import contextlib
import resource


def allow_most() -> None:
    """Raise this process's own limit, and that of what it starts, as far as it may."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != most:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may refuse it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
