"""Room on the disk, while an extraction holds segments open that are deleted meanwhile.

What somebody has open is not freed by being deleted, and retention deletes the next one instead.
Where an extraction comes forward more slowly than the recording, as a viewer that takes its time
makes it, all that it holds would go like this, and free nothing.  So where room is short what is
deleted is let go, but for what is just being read: capture comes first.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from capd.query.sources import Sources

if TYPE_CHECKING:
    from capd.config import Retention

_EVERY = 0.1  # seconds; the daemon's reaper believes for 0.5 s that it has freed something
# What may be free above the reserve while retention makes room: parts of the disk, and bytes.
_NEAR, _FAST_NEAR, _FAST = 10, 3, 16 * 2**30
_SHARE = 20  # of the time for each look
_PATIENCE = 2.0  # seconds, for a disk that does not answer


class Room:
    """As a context: a thread that lets go, in these directories."""

    def __init__(self, sources: Sources, places: Sequence[Retention]) -> None:
        self._sources = sources
        self._places = places
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="room", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_PATIENCE)

    def _watch(self) -> None:
        pause = _EVERY
        while not self._over.wait(pause):
            began = time.monotonic()
            # A directory that hangs is not asked if nothing of it is needed.
            used = [one for one in self._places if self._sources.waits_in(one.directory)]
            short = [place.directory for place in used if _is_short(place)]
            if short and not self._over.is_set():
                self._sources.let_go(short)
            pause = max(_EVERY, _SHARE * (time.monotonic() - began))


def _is_short(place: Retention) -> bool:
    """Whether retention may be deleting for want of room."""
    try:
        space = os.statvfs(place.directory)
    except OSError:
        return False
    total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    reserve = max(round((1 - place.max_usage) * total), place.min_free or 0)
    return free < reserve + max(total // _NEAR, min(_FAST, total // _FAST_NEAR))
