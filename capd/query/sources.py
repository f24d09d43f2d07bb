"""The segments in which packets of a range may be, each held open.

What is held can be read to its end whatever happens to its names meanwhile: it may be closed,
compressed, moved to the second directory or deleted.  A segment that goes in the moment between
being listed and being opened is looked for again, under the names that it may have by then; if it
is nowhere it is named.  Which segments are held is decided by what their indexes tell, never by
names; what is in one without an index nobody knows.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from capd.catalog import Catalog, Segment
from capd.index import Totals
from capd.names import (
    COMPRESSED_SUFFIX,
    DAMAGED_SUFFIX,
    SUSPECT_SUFFIX,
    interface_of,
    part_name,
)
from capd.query.holdings import Place, located, look_again
from capd.query.numbers import Numbers
from capd.segment_files import open_data, open_index
from capd.survey import BAD, survey

_HEAD = 65536  # bytes in which a packet is, if there are any
_LOOKS = 5  # at the directories, before what moves all the time is given up

Key = tuple[str, int]
"""Ring and number: what a segment keeps under all its names."""


@dataclass(frozen=True)
class Source:
    """A segment, open for reading."""

    ring: str
    seq: int
    path: str  # under which it was found
    data: BinaryIO
    index: BinaryIO | None
    compressed: bool
    is_open: bool  # a worker writes it, or left it behind
    first: int  # smallest stamp (without an index: the first), ns since 1970; 0: not known
    found_at: int = 0  # ns since 1970: there were packets in it by then, if it is open

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self.data.fileno()).st_size

    @property
    def key(self) -> Key:
        """Which one it is."""
        return self.ring, self.seq


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
        self._lost: dict[Key, str] = {}  # listed, but gone before they could be opened
        self._open: dict[Key, Source] = {}
        _allow_files()

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        for held in list(self._open.values()):
            self.release(held)

    @property
    def vanished(self) -> list[str]:
        """Paths of segments that went before they could be opened."""
        return [path for key, path in sorted(self._lost.items()) if key not in self._seen]

    def hold(self) -> dict[str, list[Source]]:
        """All that is there now and was not held before: by ring, in the order of numbers.

        StorageError if the capture directory cannot be read.
        """
        found: dict[str, list[Source]] = {}
        for _ in range(_LOOKS):
            before = dict(self._lost)
            places, troubles = look_again(self._catalogs)
            fresh = [held for held in self._open_all(places) if held is not None]
            for held in fresh:
                self._open[held.key] = held
                found.setdefault(held.ring, []).append(held)
            # What had another name while it was listed has shown itself.
            if not fresh and self._lost == before:
                break
        self.troubles += [trouble for trouble in troubles if trouble not in self.troubles]
        for segments in found.values():
            segments.sort(key=lambda held: held.seq)
        return found

    def hold_part(self, ring: str, seq: int) -> Source | None:
        """The open segment of this number, if there are packets in it and it was not held."""
        if (ring, seq) in self._seen or not self._wanted.has(ring):
            return None
        held = self._part(self._wanted.directories[0], ring, seq)
        if held is not None:
            self._open[held.key] = held
        self._lost.pop((ring, seq), None)  # whether it had packets nobody knows
        return held

    def misses(self, ring: str, seqs: Iterable[int]) -> list[int]:
        """Those numbers of a ring of which nothing was ever seen."""
        return [seq for seq in seqs if (ring, seq) not in self._seen]

    def release(self, held: Source) -> None:
        """It was read to its end."""
        del self._open[held.key]
        held.data.close()
        if held.index is not None:
            held.index.close()

    def _open_all(self, places: Sequence[Place]) -> Iterator[Source | None]:
        for directory, segment in located(places):
            if self._wanted.has(segment.ring):
                if segment.suffix == DAMAGED_SUFFIX:
                    self._note_damaged(directory, segment)
                else:
                    self.numbers.note(segment.ring, segment.seq, segment.stamp)
                    yield self._segment(directory, segment)
        for ring, files in places[0].rings.items():
            for part in files.parts if self._wanted.has(ring) else ():
                self.numbers.see(ring, part.seq)
                yield self._part(places[0].directory, ring, part.seq)

    def _segment(self, directory: str, segment: Segment) -> Source | None:
        key, path = (segment.ring, segment.seq), f"{directory}/{segment.path}"
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
        self._seen.add(key)
        found = open_index(directory, segment, os.fstat(data.fileno()).st_size)
        index, totals = found if found is not None else (None, None)
        if totals is not None:
            self.numbers.note(*key, segment.stamp, totals.last)
        if totals is not None and not self._overlaps(totals):
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
            first = 0 if compressed else _first_stamp(data.fileno()) or 0
        return Source(*key, path, data, index, compressed, is_open=False, first=first)

    def _note_damaged(self, directory: str, segment: Segment) -> None:
        key = segment.ring, segment.seq
        self.numbers.see(*key)
        if key not in self._seen:
            self._seen.add(key)
            path = f"{directory}/{segment.path}"
            self.troubles.append(f"{path} was set aside as damaged, and is not searched")

    def _overlaps(self, totals: Totals) -> bool:
        wanted = self._wanted
        return totals.first < wanted.until and totals.last >= wanted.since

    def _part(self, directory: str, ring: str, seq: int) -> Source | None:
        key, path = (ring, seq), f"{directory}/{ring}/{part_name(seq)}"
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
        first = _first_stamp(fd)
        if first is None:  # it may yet be given up, and another file have its number
            data.close()
            return None
        self._seen.add(key)
        self.numbers.note(ring, seq, first)
        return Source(
            *(*key, path, data, None),
            compressed=False,
            is_open=True,
            first=first,
            found_at=time.time_ns(),
        )

    def _give_up(self, key: Key, path: str, error: OSError) -> None:
        self._seen.add(key)
        self.troubles.append(f"cannot read {path}: {error.strerror}")


def _first_stamp(fd: int) -> int | None:
    """That of its first packet; 0: not known; None: there is none.  OSError."""
    content = os.pread(fd, _HEAD, 0)
    found = survey(content, 0, len(content))
    if found.packets:
        return found.first
    return None if found.fault != BAD and len(content) < _HEAD else 0


def _allow_files() -> None:
    """As many open files as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
