"""Which segments the [hook] command was done for: their numbers, by ring; and the file of them.

    capd-handed-over.json   {"format": 1, "rings": {"<ring>": [[first, last], ...]},
                             "waiting": {"<ring>": [[first, last], ...]}}

It lies in the capture directory, so that it goes where the segments go.  A ring that is not in it
has had none handed over; a directory without the file has never had a hook.  What was waiting when
somebody looked last is there so that the next daemon knows what went since; older versions do not
write it.  The file is written whole or not at all, and confirmed by the disk.  What is to be done
next is for `handover` to say.
"""

from __future__ import annotations

import contextlib
import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from capd import whole_file
from capd.errors import StorageError
from capd.names import HANDED_FILE, TEMPORARY_SUFFIX

FORMAT = 1
MOST_FILE = 16 * 2**20  # bytes
MOST_WAITING = 1_000_000  # segments that are believed to have been waiting

Ranges = tuple[tuple[int, int], ...]  # first and last number of each; rising, with gaps between


class Handed:
    """Numbers by ring.  Other threads may ask `has`: ranges are replaced, never changed."""

    def __init__(
        self, rings: Mapping[str, Ranges] | None = None, waiting: Mapping[str, Ranges] | None = None
    ) -> None:
        self.rings: dict[str, Ranges] = dict(rings or {})
        self.waiting: dict[str, Ranges] = dict(waiting or {})  # finished then, and not done with

    def has(self, ring: str, seq: int) -> bool:
        """Whether this one is done with."""
        done = self.rings.get(ring, ())
        at = bisect_right(done, seq, key=lambda each: each[0])
        return at > 0 and seq <= done[at - 1][1]

    def undone(self) -> Iterator[tuple[str, int]]:
        """Ring and number of what was waiting, and was not done since; MOST_WAITING at most."""
        numbers = (
            (ring, seq)
            for ring, found in self.waiting.items()
            for first, last in found
            for seq in range(first, last + 1)
        )
        return (key for key in islice(numbers, MOST_WAITING) if not self.has(*key))

    def last(self, ring: str) -> int:
        """The highest that is; 0 if none is."""
        done = self.rings.get(ring, ())
        return done[-1][1] if done else 0

    def add(self, ring: str, seq: int) -> None:
        """It is done with."""
        if self.has(ring, seq):
            return
        before = [one for one in self.rings.get(ring, ()) if one[0] < seq]
        after = [one for one in self.rings.get(ring, ()) if one[0] > seq]
        first = before.pop()[0] if before and before[-1][1] == seq - 1 else seq
        last = after.pop(0)[1] if after and after[0][0] == seq + 1 else seq
        self.rings[ring] = (*before, (first, last), *after)

    def all_but(self, ring: str, undone: Iterable[int]) -> None:
        """All up to the highest are, but for these: the numbers between them are nothing's."""
        done, first, end = [], 1, self.last(ring)
        for seq in sorted(undone):
            if first <= seq <= end and not self.has(ring, seq):
                if first < seq:
                    done.append((first, seq - 1))
                first = seq + 1
        self.rings[ring] = (*done, *([(first, end)] if first <= end else []))

    def forget(self, ring: str) -> None:
        """Its numbers have begun anew."""
        self.rings.pop(ring, None)


def ranges(seqs: Iterable[int]) -> Ranges:
    """These numbers, which rise, in as few ranges as can be."""
    found = list[tuple[int, int]]()
    for seq in seqs:
        first = found.pop()[0] if found and found[-1][1] == seq - 1 else seq
        found.append((first, seq))
    return tuple(found)


def in_words(seqs: list[int]) -> str:
    """Segments of one ring, whose numbers rise."""
    found = [str(a) if a == b else f"{a} to {b}" for a, b in ranges(seqs)]
    return f"segment{'' if len(seqs) == 1 else 's'} {', '.join(found)}"


def encode(handed: Handed) -> str:
    """The content of the file."""
    fields = {"format": FORMAT, "rings": handed.rings, "waiting": handed.waiting}
    content = json.dumps(fields)
    if len(content) > MOST_FILE:  # what is done must be read again; the other is for a message
        content = json.dumps(fields | {"waiting": {}})
    return content


def decode(text: str) -> Handed:
    """What `encode` was given.  ValueError: it is something else."""
    fields = json.loads(text)
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    rings, waiting = fields.get("rings"), fields.get("waiting", {})
    if not isinstance(rings, dict) or not isinstance(waiting, dict):
        raise ValueError("it names no rings")
    return Handed(
        {ring: _ranges(found) for ring, found in rings.items()},
        {ring: _ranges(found) for ring, found in waiting.items()},
    )


def _ranges(found: object) -> Ranges:
    read, before = list[tuple[int, int]](), -1
    for one in found if isinstance(found, list) else [None]:
        match one:
            case [int(first), int(last)] if before < first <= last:
                read.append((first, last))
                before = last + 1  # or it would be one range with the next
            case _:
                raise ValueError("what it has of a ring is no list of ranges that rise")
    return tuple(read)


def read(directory: str) -> Handed | None:
    """That of a capture directory; None if it has never had a hook.  StorageError."""
    path = f"{directory}/{HANDED_FILE}"
    try:
        return decode(whole_file.read(path, MOST_FILE).decode())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StorageError(
            f"cannot read {path}: {error}; mend it, or remove it: then the hook begins anew"
        ) from error


def write(directory: str, handed: Handed) -> None:
    """Put it in the place of the one before.  StorageError: that one stays."""
    path = f"{directory}/{HANDED_FILE}"
    content = encode(handed).encode()
    try:
        whole_file.write(path, content, suffix=TEMPORARY_SUFFIX, durable=True)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}; after a restart the [hook] command may be "
            "run again for segments that it was done for"
        ) from error


def remove(directory: str) -> None:
    """The hook is no more; one that comes later is a new one."""
    with contextlib.suppress(OSError):  # there is none, or it is as if it were there still
        os.unlink(f"{directory}/{HANDED_FILE}")
