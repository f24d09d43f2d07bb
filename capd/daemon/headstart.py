"""Workers for the rings that systemd kept, started before it is known what those rings are.

A worker takes as long to start as the daemon takes to find out, so that both begin at once: by
the names of descriptors alone.  Whether a ring can be gone on with, and its worker told to,
`adoption` decides.  Nothing is imported here that can wait.
"""

from __future__ import annotations

from capd.daemon.inheritance import inherited
from capd.daemon.spawn import Spawned, spawn
from capd.errors import WorkerError

Kept = dict[str, list[int]]  # descriptors by the names under which systemd kept them


class HeadStart:
    """What systemd kept, and who waits for it.

    rings    by the number that their names have in common; "": what is no ring
    workers  by that number
    """

    def __init__(self, rings: dict[str, Kept], workers: dict[str, Spawned]) -> None:
        self.rings = rings
        self.workers = workers


def take() -> HeadStart:
    """Take what systemd kept, and start a worker for each ring and its memory."""
    rings: dict[str, Kept] = {}
    for name, fds in inherited().items():
        kind, _, rest = name.partition("/")
        number = rest.split("/")[1] if kind in {"ring", "memory"} and "/" in rest else ""
        rings.setdefault(number, {})[name] = fds
    workers = {}
    for number, kept in rings.items():
        worker = _worker(kept) if number else None
        if worker is not None:
            workers[number] = worker
    return HeadStart(rings, workers)


def _worker(kept: Kept) -> Spawned | None:
    """One that can have both; None where adoption will find out what is wrong."""
    fds = [fd for name in sorted(kept, reverse=True) for fd in kept[name]]  # ring, then memory
    if len(fds) != 2:
        return None
    try:
        return spawn(*fds)
    except WorkerError:
        return None
