"""What is being missed at this moment, and is in no ledger yet: a gap is on record once it ends."""

from __future__ import annotations

from collections.abc import Iterator

from capd.errors import StorageError
from capd.status import read, staleness


def missing(path: str, directory: str, now: int) -> Iterator[str]:
    """In words, by the status file at `path`; of the rings that are recorded into `directory`."""
    try:
        status = read(path)
    except StorageError as error:
        yield f"what is missed at present is not known: {error}"
        return
    stale = staleness(status, now)
    if stale is not None:
        yield f"what is missed at present is not known: {stale}"
        return
    for ring in status.rings:
        if ring.directory != directory:
            continue
        if ring.link != "up":
            yield (
                f"{ring.interface}: the link is {ring.link} at present; the gap is put on record "
                "when it ends"
            )
        elif ring.phase not in ("running", "ended"):
            yield f"{ring.interface}: its worker is {ring.phase.replace('_', ' ')} at present"
