"""What every segment is, as its name and its index tell: read only, whole or not at all.

Segments lie in the capture directory and, if there is one, in the second, to which they move: one
that is in both for a moment counts once.

An index that is missing, or does not belong to its data, tells nothing; what is not known is None.
Whether a segment is what its index says is `verify`'s business.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from capd import index as indexes
from capd.catalog import Catalog, Part, RingFiles, Segment
from capd.errors import StorageError
from capd.held import Held
from capd.holds import Span
from capd.index import MOST_INDEX, Index
from capd.names import COMPRESSED_SUFFIX, DAMAGED_SUFFIX, SUSPECT_SUFFIX, part_name
from capd.numbering import Numbering
from capd.segment_files import opened, size, totals
from capd.survey import UNTOLD


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
    held: bool | None = None  # whether retention must leave it alone; None: not known, or not asked


class Place(NamedTuple):
    """A directory, and what was found in it."""

    directory: str
    rings: dict[str, RingFiles]


class Located(NamedTuple):
    """A segment, and the directory that it was found in."""

    directory: str
    segment: Segment


def look(directories: Sequence[str], rings: Iterable[str] = ()) -> tuple[list[Place], list[str]]:
    """What is in these directories, of these rings or of all; and what cannot be read.

    StorageError if the first cannot be.
    """
    wanted = dict.fromkeys(rings)
    catalogs = [Catalog(directory) for directory in directories]
    places, troubles = look_again(catalogs, lambda ring: not wanted or ring in wanted)
    there = {ring for place in places for ring in place.rings}
    return places, [*troubles, *(absence(ring) for ring in wanted if ring not in there)]


def absence(ring: str) -> str:
    """Of one that was asked for by name: a wrong name is no reason to say that all is well."""
    return f"{ring}: no segment is there"


def look_again(
    catalogs: Sequence[Catalog], has: Callable[[str], bool]
) -> tuple[list[Place], list[str]]:
    """The same for directories of which something is known already; `has`: is a ring wanted."""
    places: list[Place] = []
    troubles = []
    for catalog in catalogs:
        try:
            found = catalog.scan()
        except StorageError as error:
            if not places:
                raise
            troubles.append(str(error))
            continue
        for ring, told in catalog.troubles.items():
            troubles += told if has(ring) else ()
        kept = {ring: files for ring, files in found.items() if has(ring)}
        places.append(Place(catalog.directory, kept))
    return places, troubles


def located(places: Sequence[Place]) -> Iterator[Located]:
    """All segments, ring by ring, each ring's in order."""
    for ring in _rings(places):
        yield from _of_ring(places, ring)


def holdings(places: Sequence[Place], spans: Sequence[Span] | None = ()) -> Iterator[Holding]:
    """Every segment, in order; those that are being written last of each ring.

    `spans`: what is held; None: nobody knows.
    """
    kept = {place.directory: _held(place, spans) for place in places if spans is not None}
    for ring in _rings(places):
        for directory, segment in _of_ring(places, ring):
            held = kept[directory].keeps(segment) if directory in kept else None
            yield _holding(directory, segment, held=held)
        for part in places[0].rings[ring].parts if ring in places[0].rings else ():
            yield _open(places[0].directory, ring, part)


def _held(place: Place, spans: Sequence[Span]) -> Held:
    found = Held(place.directory, spans)
    found.look(place.rings)
    return found


def _rings(places: Sequence[Place]) -> list[str]:
    return sorted({ring for place in places for ring in place.rings})


def _of_ring(places: Sequence[Place], ring: str) -> list[Located]:
    found = {
        (segment.seq, segment.stamp): Located(place.directory, segment)
        for place in reversed(places)
        if ring in place.rings
        for segment in place.rings[ring].segments
    }
    segments = (one.segment for one in found.values())
    ordered = Numbering[Segment]().in_order(segments, time.time_ns())
    return [found[segment.seq, segment.stamp] for segment in ordered]


def read_index(directory: str, segment: Segment) -> Index | None:
    """The index of a segment's data; None if there is none that belongs to them.

    StorageError: there is one that cannot be used.
    """
    if not segment.indexed:
        return None
    with opened(directory, segment, segment.name.index_file) as file:
        found = indexes.decode(file.read(MOST_INDEX))
    there = os.stat(f"{directory}/{segment.path}", follow_symlinks=False).st_size
    if found.stored_size != there:
        raise StorageError(
            f"the index is of a file of {found.stored_size:,} bytes, and there are {there:,}"
        )
    return found


def _holding(directory: str, segment: Segment, *, held: bool | None) -> Holding:
    told = totals(directory, segment)
    path = f"{directory}/{segment.path}"
    common = (segment.ring, segment.seq, _state(segment), path, segment.size)
    if told is None:
        raw = size(path) if segment.suffix != COMPRESSED_SUFFIX else None
        return Holding(*common, raw, segment.stamp or None, None, None, None, held)
    first, last = (told.first, told.last) if told.packets else (None, None)
    lost = None if told.lost == UNTOLD else told.lost
    return Holding(*common, told.raw_size, first, last, told.packets, lost, held)


def _state(segment: Segment) -> str:
    states = {COMPRESSED_SUFFIX: "compressed", SUSPECT_SUFFIX: "suspect", DAMAGED_SUFFIX: "damaged"}
    return states.get(segment.suffix, "raw")


def _open(directory: str, ring: str, part: Part) -> Holding:
    path = f"{directory}/{ring}/{part_name(part.seq)}"
    return Holding(ring, part.seq, "open", path, part.size, size(path), None, None, None, None)
