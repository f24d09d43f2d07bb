"""The segments in which packets of a range may be, each held open.

What is held can be read to its end whatever happens to its names meanwhile: it may be closed,
compressed, moved to the second directory or deleted; but where room is short, what was deleted
before its turn came is let go (`room.py`).  A segment that goes in the moment between being listed
and being opened is looked for again, under the names that it may have by then; if it is nowhere it
is named.  Which segments are held is decided by what their indexes tell, never by names; what is
in one without an index nobody knows.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from capd import descriptors
from capd.catalog import Catalog, Segment
from capd.index import Totals
from capd.names import (
    COMPRESSED_SUFFIX,
    DAMAGED_SUFFIX,
    DATA_SUFFIXES,
    INDEX_SUFFIX,
    SUSPECT_SUFFIX,
    SegmentName,
    interface_of,
    part_name,
)
from capd.numbering import Numbering
from capd.query.holdings import Place, located, look_again
from capd.query.numbers import Numbers, Spot
from capd.query.source import Key, Number, Source, Written, first_stamp
from capd.segment_files import open_data, open_index

_LOOKS = 5  # at the directories, before what moves all the time is given up


@dataclass(frozen=True)
class Wanted:
    """What is looked for."""

    directories: tuple[str, ...]  # the capture directory first
    since: int  # ns since 1970
    until: int
    interfaces: tuple[str, ...] = ()  # (): all

    def has(self, ring: str) -> bool:
        """Whether the ring is one of a wanted interface."""
        return not self.interfaces or interface_of(ring) in self.interfaces


class Sources:
    """Holds segments; as a context, for as long as it lasts."""

    def __init__(self, wanted: Wanted) -> None:
        self.troubles: list[str] = []  # what cannot be looked at, and why
        self.numbers = Numbers()
        self.suspect: list[str] = []  # that the disk did not confirm
        self._wanted = wanted
        self._catalogs = [Catalog(directory) for directory in wanted.directories]
        self._seen: set[Key] = set()  # those of which all is known
        self._numbers: set[Number] = set()  # theirs
        self._numberings: dict[str, Numbering[Spot]] = {}  # by ring
        self._written: dict[Number, Written] = {}  # those that were held while they were open
        self._became: set[Key] = set()  # what those were named
        self._lost: dict[Key, str] = {}  # listed, but gone before they could be opened
        self.unread: dict[Key, str] = {}  # paths of those that were let go, and are nowhere else
        self._open: dict[Key, Source] = {}
        self._waiting: dict[Key, Source] = {}  # finished ones of these, until their turn comes
        self._taking = threading.Lock()  # one of these, or letting it go
        self._listed = 0  # files at the last look: data and indexes
        descriptors.allow_most()

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        for held in list(self._open.values()):
            self.release(held)

    @property
    def vanished(self) -> list[str]:
        """Paths of segments that went before they could be read, with what is looked for."""
        since, until = self._wanted.since, self._wanted.until
        lost = [
            (key, path)
            for key, path in sorted(self._lost.items())
            if self.numbers.may_have(*key[:2], since, until)
        ]
        # Of one that was open, any that has its number will do: what it was named is not known.
        found = self._seen | {(*number, 0) for number in self._numbers}
        return [path for key, path in lost if key not in found] + sorted(self.unread.values())

    def hold(self) -> dict[str, list[Source]]:
        """All that is there now and was not held before: by ring, in order (`numbering`).

        StorageError if the capture directory cannot be read.
        """
        found: dict[str, list[Source]] = {}
        listed: dict[str, set[Key]] = {}
        for _ in range(_LOOKS):
            before = dict(self._lost)
            places, troubles = look_again(self._catalogs, self._wanted.has)
            files = (len(one.segments) for place in places for one in place.rings.values())
            self._listed = 2 * sum(files)
            fresh = [held for held in self._open_all(places, listed) if held is not None]
            for held in fresh:
                self._add(held)
                found.setdefault(held.ring, []).append(held)
            # What had another name while it was listed has shown itself.
            if not fresh and self._lost == before:
                break
        self.troubles += [trouble for trouble in troubles if trouble not in self.troubles]
        for ring, keys in listed.items():
            parts = {_spot(one) for one in found.get(ring, ()) if one.is_open}
            self.numbers.arrange(ring, parts | self._spots(keys))
        for ring, segments in found.items():
            self._sort(ring, segments, listed.get(ring, set()))
        return found

    def hold_part(self, ring: str, seq: int) -> Source | None:
        """The open segment of this number, if there are packets in it and it was not held."""
        if not self._wanted.has(ring):
            return None
        held = self._part(self._wanted.directories[0], ring, seq)
        if held is not None:
            self._add(held)
        self._lost.pop((ring, seq, 0), None)  # whether it had packets nobody knows
        return held

    def _add(self, held: Source) -> None:
        self._open[held.key] = held
        if held.stamp:
            self._waiting[held.key] = held

    def take(self, held: Source) -> Source | None:
        """To read it now; under another name where it was let go; None: it is nowhere any more."""
        with self._taking:
            return self._waiting.pop(held.key, None) if held.stamp else held

    def waits_in(self, directory: str) -> bool:
        """Whether anything that was found there waits for its turn."""
        return any(held.path.startswith(f"{directory}/") for held in list(self._waiting.values()))

    def let_go(self, directories: Sequence[str]) -> None:
        """Those that were deleted there before their turn came, if no other name is found."""
        for held in list(self._waiting.values()):
            with self._taking, contextlib.suppress(OSError):  # what is not known to be gone is kept
                is_here = any(held.path.startswith(f"{one}/") for one in directories)
                if is_here and self._waiting.get(held.key) is held and held.is_deleted:
                    del self._waiting[held.key]
                    self._exchange(held)

    def _exchange(self, held: Source) -> None:
        """Let it go, and hold what it is under another name."""
        self.release(held)
        self.unread[held.key] = held.path
        folder = SegmentName(held.ring, held.stamp, held.seq).folder
        for directory in self._wanted.directories:
            for suffix in DATA_SUFFIXES:
                suffixes = (suffix, suffix + INDEX_SUFFIX)
                segment = Segment(*held.key[:2], held.stamp, 0, folder, suffixes, own=False)
                with contextlib.suppress(OSError):
                    self._add(_renamed(held, directory, segment))
                    del self.unread[held.key]
                    return

    def misses(self, ring: str, seqs: Iterable[int]) -> list[int]:
        """Those numbers of a ring of which nothing was ever seen."""
        return [seq for seq in seqs if (ring, seq) not in self._numbers]

    def release(self, held: Source) -> None:
        """It was read to its end."""
        del self._open[held.key]
        held.data.close()
        if held.index is not None:
            held.index.close()

    def _sort(self, ring: str, held: list[Source], listed: set[Key]) -> None:
        """Put in order what was opened of a ring in which all this was listed."""
        if len(held) > 1:
            known = self._spots(listed) | {_spot(one) for one in held}
            order = self._numberings.setdefault(ring, Numbering())
            ordered = order.in_order(known, time.time_ns())
            places = {spot: place for place, spot in enumerate(ordered)}
            held.sort(key=lambda one: places[_spot(one)])

    def _spots(self, listed: set[Key]) -> set[Spot]:
        """Of each that was listed, but for what was held before it was finished."""
        return {Spot(seq, stamp) for _, seq, stamp in listed - self._became}

    def _open_all(
        self, places: Sequence[Place], listed: dict[str, set[Key]]
    ) -> Iterator[Source | None]:
        for directory, segment in located(places):
            if self._wanted.has(segment.ring):
                listed.setdefault(segment.ring, set()).add(_key(segment))
                if segment.suffix == DAMAGED_SUFFIX:
                    path = f"{directory}/{segment.path}"
                    self.numbers.set_aside(segment.ring, segment.seq, path)
                    self._see(_key(segment))
                else:
                    self.numbers.note(segment.ring, segment.seq, segment.stamp)
                    yield self._segment(directory, segment)
        for ring, files in places[0].rings.items():
            for part in files.parts if self._wanted.has(ring) else ():
                self.numbers.see(ring, part.seq)
                yield self._part(places[0].directory, ring, part.seq)

    def _segment(self, directory: str, segment: Segment) -> Source | None:
        key, path = _key(segment), f"{directory}/{segment.path}"
        if key in self._seen:
            return None
        try:
            data = open_data(directory, segment)
        except FileNotFoundError:
            self._lost[key] = path
            return None
        except OSError as error:
            self._give_up(key, path, error)
            return None
        descriptors.require_spare(data.fileno(), self._listed)
        self._see(key)
        status = os.fstat(data.fileno())
        found = open_index(directory, segment, status.st_size)
        index, totals = found if found is not None else (None, None)
        if totals is not None:
            self.numbers.note(segment.ring, segment.seq, segment.stamp, totals.last)
            self.numbers.count(segment.ring, totals)
        written = self._written.get((segment.ring, segment.seq))
        if written is not None and written.became(segment, status, totals):
            self._became.add(key)
        if key in self._became or (totals is not None and not self._overlaps(totals)):
            data.close()
            if index is not None:
                index.close()
            return None
        if segment.suffix == SUSPECT_SUFFIX:
            self.suspect.append(path)
        compressed = segment.suffix == COMPRESSED_SUFFIX
        if totals is not None:
            first = totals.first
        else:
            first = 0 if compressed else first_stamp(data.fileno()) or 0
        return Source(
            *(*key, path, data, index, compressed),
            is_open=False,
            first=first,
            size=status.st_size,
        )

    def _overlaps(self, totals: Totals) -> bool:
        wanted = self._wanted
        return totals.first < wanted.until and totals.last >= wanted.since

    def _part(self, directory: str, ring: str, seq: int) -> Source | None:
        key, path = (ring, seq, 0), f"{directory}/{ring}/{part_name(seq)}"
        if key in self._seen:
            return None
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # it has its final name by now
            self._lost[key] = path
            return None
        except OSError as error:
            self._give_up(key, path, error)
            return None
        data = open(fd, "rb", buffering=0)  # noqa: SIM115  it is held
        descriptors.require_spare(data.fileno(), self._listed)
        first = first_stamp(fd)
        if first is None:  # it may yet be given up, and another file have its number
            data.close()
            return None
        self._see(key)
        status = os.fstat(fd)
        self._written[ring, seq] = Written(status.st_dev, status.st_ino, first)
        self.numbers.note(ring, seq, first)
        return Source(
            *(*key, path, data, None),
            compressed=False,
            is_open=True,
            first=first,
            size=status.st_size,
            found_at=time.time_ns(),
        )

    def _give_up(self, key: Key, path: str, error: OSError) -> None:
        self._see(key)
        self.troubles.append(f"cannot read {path}: {error.strerror}")

    def _see(self, key: Key) -> None:
        self._seen.add(key)
        self._numbers.add(key[:2])


def _renamed(held: Source, directory: str, segment: Segment) -> Source:
    """The same by this name.  OSError."""
    data = open_data(directory, segment)
    size = os.fstat(data.fileno()).st_size
    index, _ = open_index(directory, segment, size) or (None, None)
    found = replace(held, data=data, index=index, size=size)
    compressed = segment.suffix == COMPRESSED_SUFFIX
    return replace(found, path=f"{directory}/{segment.path}", compressed=compressed)


def _key(segment: Segment) -> Key:
    return segment.ring, segment.seq, segment.stamp


def _spot(held: Source) -> Spot:
    return Spot(held.seq, held.stamp or held.first)
