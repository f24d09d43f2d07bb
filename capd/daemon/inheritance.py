"""The descriptors that systemd kept for this process: sd_listen_fds_with_names(3)."""

from __future__ import annotations

import os
from itertools import zip_longest

FIRST = 3  # SD_LISTEN_FDS_START


def inherited() -> dict[str, list[int]]:
    """The descriptors that the manager kept, by name; the environment forgets them.

    Names may come twice, and one that the manager did not like has become `stored`.
    """
    pid, count, names, _ = (
        os.environ.pop(name, "")
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
    )
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    named = zip_longest(range(FIRST, FIRST + int(count)), names.split(":")[: int(count)])
    kept: dict[str, list[int]] = {}
    for fd, name in named:
        try:
            os.set_inheritable(fd, False)  # noqa: FBT003  the library's own signature
        except OSError:  # it is not open
            continue
        kept.setdefault(name or "unknown", []).append(fd)
    return kept
