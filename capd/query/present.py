"""What is missed at this moment and is in no ledger yet: a gap is on record once it ends.

A loss is so within a minute, if the disk takes it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from capd.errors import StorageError
from capd.losses import Loss
from capd.query.losses import Question
from capd.status import RingStatus, Status, read, staleness
from capd.units import format_time

_ON_RECORD = "the gap is put on record when it ends"


def unwritten(path: str, directory: str) -> list[Loss]:
    """Losses that the daemon has seen, whether they are in the ledger or not, newest last.

    One that is dead has seen them, too.
    """
    try:
        status = read(path)
    except StorageError:  # `missing` tells of it
        return []
    places = {ring.directory for ring in status.rings}
    if status.disk is not None:
        places.add(status.disk.directory)
    return [*status.losses, *status.untold] if directory in places else []


def missing(path: str, question: Question, now: int) -> tuple[list[str], list[str]]:
    """What began before the range asked for has ended, and what nobody knows of that, in words.

    `path`: of the status file; `now`: when it was asked, in ns since 1970.  What cannot be known
    matters to a range up to then.
    """
    is_present = question.until >= now
    status = _told(path)
    if isinstance(status, str):
        text = f"what is missed at present is not known: {status}"
        return [], [text] if is_present else []
    return list(_missed(status, question, is_present=is_present)), []


def doubt(path: str) -> str | None:
    """Why the status file at `path` does not tell how it is now; None if it does."""
    status = _told(path)
    return status if isinstance(status, str) else None


def _told(path: str) -> Status | str:
    """What it tells, or why it does not."""
    try:
        status = read(path)
    except StorageError as error:
        return str(error)
    late = staleness(status, time.time_ns())
    if late is None and status.state == "starting":
        late = "capd is starting"
    return status if late is None else late


def _missed(status: Status, question: Question, *, is_present: bool) -> Iterator[str]:
    rings = [ring for ring in status.rings if ring.directory == question.directory]
    for ring in rings:
        if not question.interfaces or ring.interface in question.interfaces:
            yield from _of_ring(ring, status, question, is_present=is_present)
    if rings or (status.disk is not None and status.disk.directory == question.directory):
        yield from _of_no_ring(status, question)


def _of_ring(
    ring: RingStatus, status: Status, question: Question, *, is_present: bool
) -> Iterator[str]:
    since = status.out.get(ring.interface)
    if ring.link != "up":
        if since is None and is_present:
            yield f"{ring.interface}: the link is {ring.link} at present; {_ON_RECORD}"
        elif since is not None and since < question.until:
            when = format_time(since)
            yield f"{ring.interface}: the link is {ring.link} since {when}; {_ON_RECORD}"
    elif is_present and ring.phase not in ("running", "ended"):
        yield f"{ring.interface}: its worker is {ring.phase.replace('_', ' ')} at present"


def _of_no_ring(status: Status, question: Question) -> Iterator[str]:
    """Interfaces that were captured, and those that are asked for by name.

    The others of a config may never be there; nobody would want to hear of them each time.
    """
    named = question.interfaces
    reasons = {name: "it is gone" for name in status.out if name in named}
    reasons |= status.waiting | status.refused
    for ring in status.rings:
        reasons.pop(ring.interface, None)
    for name, why in reasons.items():
        since = status.out.get(name)
        if named and name not in named:
            continue
        if since is None:  # not in this daemon's life
            if named and status.started_at < question.until:
                yield f"{name}: it is not captured: {why}"
        elif since < question.until:
            yield f"{name}: no packets since {format_time(since)}: {why}; {_ON_RECORD}"
