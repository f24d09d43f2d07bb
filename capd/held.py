"""Which segments are held: those that may have a packet from a time that a hold covers.

A segment begins with its stamp; when its last packet came, its index says.  Where none says so,
the segment after it is the bound: it began before that, or, if the clock had been set back
meanwhile, not more than SLACK later; and where the stamps around it run backwards, nobody knows.
What was set aside has no stamp, and lies between those of its neighbours.  In doubt it is held.

Indexes are asked for single segments only, when the names leave a question: a hundred thousand
segments are not to cost as many reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from capd.catalog import RingFiles, Segment
from capd.holds import Coverage, Span
from capd.segment_files import totals
from capd.units import DURATIONS, MAX

SLACK = DURATIONS["h"]  # ns that a clock may be set back without being seen in the names

_Key = tuple[str, int, int]


class Extent(NamedTuple):
    """Where the packets of a segment lie, as far as names tell; ns since 1970."""

    segment: Segment
    first: int
    last: int


class Amount(NamedTuple):
    """How much is held."""

    segments: int = 0
    bytes: int = 0  # on the disk


class Held:
    """What spans keep of one directory; not for several threads at once."""

    def __init__(self, directory: str, spans: Iterable[Span]) -> None:
        self._directory = directory
        self._coverage = Coverage(spans)
        self._possible: set[_Key] = set()  # those that may be held as far as names tell
        # When segments end, by their indexes: as asked for since `look`, and before it.
        self._lasts: dict[_Key, int] = {}
        self._lasts_before: dict[_Key, int] = {}

    def look(self, rings: Mapping[str, RingFiles]) -> Amount:
        """See what there is; gives what is held of it."""
        self._possible.clear()
        self._lasts, self._lasts_before = {}, self._lasts
        count = size = 0
        for ring, files in rings.items():
            if not self._coverage.concerns(ring):
                continue
            for extent in extents(files.segments):
                segment = extent.segment
                if self._coverage.covers(ring, extent.first, extent.last):
                    self._possible.add(_key(segment))
                    if self.keeps(segment):
                        count += 1
                        size += segment.size
        return Amount(count, size)

    def keeps(self, segment: Segment) -> bool:
        """Whether a segment that `look` has seen is held."""
        ring, stamp = segment.ring, segment.stamp
        if stamp and self._coverage.covers(ring, stamp, stamp):
            return True
        if not self._coverage.covers(ring, stamp, MAX):
            return False
        last = self._last(segment)
        if last is not None:
            return self._coverage.covers(ring, stamp, last)
        return _key(segment) in self._possible

    def _last(self, segment: Segment) -> int | None:
        """When a segment ends, by its index; None if there is none to rely on."""
        key = _key(segment)
        last = self._lasts.get(key, self._lasts_before.get(key))
        if last is None:
            found = totals(self._directory, segment)
            if found is None:
                return None
            last = max(segment.stamp, found.last if found.packets else found.closed)
        self._lasts[key] = last
        return last


def extents(segments: list[Segment]) -> Iterator[Extent]:
    """Of the segments of one ring, in the order of their numbers: by their names alone."""
    after: list[int | None] = []
    following: int | None = None
    for segment in reversed(segments):
        after.append(following)
        following = segment.stamp or following
    before = 0
    for segment, end in zip(segments, reversed(after), strict=True):
        first = segment.stamp or before
        known = end is not None and before <= first <= end
        yield Extent(segment, first, end + SLACK if known and end is not None else MAX)
        before = segment.stamp or before


def _key(segment: Segment) -> _Key:
    return segment.ring, segment.seq, segment.stamp
