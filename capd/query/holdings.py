"""What every segment is, as its name and its index tell: read only, whole or not at all.

Segments lie in the capture directory and, if there is one, in the second, to which they move: one
that is in both for a moment counts once.

An index that is missing, or does not belong to its data, tells nothing; what is not known is None.
Whether a segment is what its index says is `verify`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from capd import index as indexes
from capd.catalog import DIRECTORY, Catalog, Part, RingFiles, Segment
from capd.errors import StorageError
from capd.index import Index, Totals
from capd.names import COMPRESSED_SUFFIX, DAMAGED_SUFFIX, SUSPECT_SUFFIX, part_name
from capd.survey import UNTOLD

MOST_INDEX = 2**30  # bytes: no index is larger


@dataclass(frozen=True)
class Holding:
    """One segment; stamps in ns since 1970."""

    ring: str
    seq: int
    state: str  # "open", "raw", "compressed", "suspect", "damaged"
    path: str
    size: int  # bytes on the disk, its index included
    raw_size: int | None  # bytes of its pcapng
    first: int | None  # of its packets; None without a packet, too
    last: int | None
    packets: int | None
    lost: int | None  # while it was written


class Place(NamedTuple):
    """A directory, and what was found in it."""

    directory: str
    rings: dict[str, RingFiles]


class Located(NamedTuple):
    """A segment, and the directory that it was found in."""

    directory: str
    segment: Segment


def look(directories: Sequence[str], rings: Iterable[str] = ()) -> tuple[list[Place], list[str]]:
    """What is in these directories, of these rings or of all; and why some cannot be read.

    StorageError if the first cannot be.
    """
    wanted = set(rings)
    places: list[Place] = []
    troubles = []
    for directory in directories:
        try:
            found = Catalog(directory).scan()
        except StorageError as error:
            if not places:
                raise
            troubles.append(str(error))
            continue
        kept = {ring: files for ring, files in found.items() if not wanted or ring in wanted}
        places.append(Place(directory, kept))
    return places, troubles


def located(places: Sequence[Place]) -> Iterator[Located]:
    """All segments, ring by ring, each ring's in order."""
    for ring in _rings(places):
        yield from _of_ring(places, ring)


def holdings(places: Sequence[Place]) -> Iterator[Holding]:
    """Every segment, in order; those that are being written last of each ring."""
    for ring in _rings(places):
        for directory, segment in _of_ring(places, ring):
            yield _holding(directory, segment)
        for part in places[0].rings[ring].parts if ring in places[0].rings else ():
            yield _open(places[0].directory, ring, part)


def _rings(places: Sequence[Place]) -> list[str]:
    return sorted({ring for place in places for ring in place.rings})


def _of_ring(places: Sequence[Place], ring: str) -> list[Located]:
    found = {
        (segment.seq, segment.stamp): Located(place.directory, segment)
        for place in reversed(places)
        if ring in place.rings
        for segment in place.rings[ring].segments
    }
    return [found[order] for order in sorted(found)]


def read_index(directory: str, segment: Segment) -> Index | None:
    """The index of a segment's data; None if there is none that belongs to them.

    StorageError: there is one that cannot be used.
    """
    if not segment.indexed:
        return None
    with _opened(directory, segment, segment.name.index_file) as file:
        found = indexes.decode(file.read(MOST_INDEX))
    size = os.stat(f"{directory}/{segment.path}", follow_symlinks=False).st_size
    if found.stored_size != size:
        raise StorageError(
            f"the index is of a file of {found.stored_size:,} bytes, and there are {size:,}"
        )
    return found


def open_data(directory: str, segment: Segment) -> BinaryIO:
    """The data of a segment, to be read.  OSError."""
    return _opened(directory, segment, segment.name.file)


def open_index(
    directory: str, segment: Segment, stored_size: int
) -> tuple[BinaryIO, Totals] | None:
    """The index of data of this size, and what it tells in short; None if there is none of use."""
    if not segment.indexed:
        return None
    try:
        file = _opened(directory, segment, segment.name.index_file)
    except OSError:  # it went with the data, which are compressed now
        return None
    try:
        totals = indexes.read_totals(file.fileno())
    except (OSError, StorageError):  # `verify` tells of it
        totals = None
    if totals is None or totals.stored_size != stored_size:
        file.close()
        return None
    return file, totals


def _opened(directory: str, segment: Segment, name: str) -> BinaryIO:
    folder = os.open(f"{directory}/{segment.ring}/{segment.folder}", DIRECTORY)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    return open(fd, "rb", buffering=0)


def _totals(directory: str, segment: Segment) -> Totals | None:
    """What the index of a segment's data says in short, if it belongs to them."""
    size = _size(f"{directory}/{segment.path}")
    found = None if size is None else open_index(directory, segment, size)
    if found is None:
        return None
    file, totals = found
    file.close()
    return totals


def _holding(directory: str, segment: Segment) -> Holding:
    totals = _totals(directory, segment)
    path = f"{directory}/{segment.path}"
    common = (segment.ring, segment.seq, _state(segment), path, segment.size)
    if totals is None:
        raw = _size(path) if segment.suffix != COMPRESSED_SUFFIX else None
        return Holding(*common, raw, segment.stamp or None, None, None, None)
    first, last = (totals.first, totals.last) if totals.packets else (None, None)
    lost = None if totals.lost == UNTOLD else totals.lost
    return Holding(*common, totals.raw_size, first, last, totals.packets, lost)


def _state(segment: Segment) -> str:
    states = {COMPRESSED_SUFFIX: "compressed", SUSPECT_SUFFIX: "suspect", DAMAGED_SUFFIX: "damaged"}
    return states.get(segment.suffix, "raw")


def _open(directory: str, ring: str, part: Part) -> Holding:
    path = f"{directory}/{ring}/{part_name(part.seq)}"
    return Holding(ring, part.seq, "open", path, part.size, _size(path), None, None, None, None)


def _size(path: str) -> int | None:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:  # it was finished or deleted meanwhile
        return None
