"""Rings of a range that nobody records any more: what the range asks for from then on is missing.

A ring that ended is in no status file and, until it is captured again, in no ledger.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from capd.captured import captured_until
from capd.errors import StorageError
from capd.names import interface_of
from capd.query.losses import Question
from capd.status import Status, read, staleness
from capd.units import MAX, format_time

_LOOKS = 3  # at a folder in which names change; whoever asks waits


def ended(path: str, question: Question, rings: Iterable[str]) -> Iterator[str]:
    """Which of these rings, of which there are segments, were not recorded to the end of the range.

    `path`: of the status file.  Of what nobody asked for by name, those that ended within the
    range count; and if nobody records anything, the one that was recorded last.
    """
    try:
        status = read(path)
    except StorageError:
        status = None
    told = _told(status, question.directory) if status is not None else {}
    last = max(told.values(), default=0)
    for ring in sorted(rings):
        if status is not None and interface_of(ring) in status.out:
            continue  # `present` tells of it
        until = told.get(ring, 0)
        if until < question.until:
            found = captured_until(question.directory, ring, time.time_ns(), _LOOKS)
            until = max(until, found or 0) or MAX  # nothing can be said of it
        last = max(last, until)
        if until < question.until and (question.interfaces or until > question.since):
            yield f"{ring}: not recorded from {format_time(until)} on, as far as is known"
    if not question.interfaces and 0 < last <= question.since:
        yield f"nothing was recorded from {format_time(last)} on, as far as is known"


def _told(status: Status, directory: str) -> dict[str, int]:
    """By ring, until when it was recorded; MAX: it is."""
    if status.state == "starting":  # what is in the rings that it takes over nobody has written
        return {}
    until = MAX if staleness(status, time.time_ns()) is None else status.written_at
    return {ring.ring: until for ring in status.rings if ring.directory == directory}
