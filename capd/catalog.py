"""What segments a capture directory holds: read from the directory, which is the only truth.

A `Catalog` remembers what it saw, so that looking again costs next to nothing in folders that
did not change.  Only regular files under names of capd's grammar count, never what a symbolic
link leads to.  A segment is capd's own, for retention to take, if its files belong to this user
or the directory's, and have no other link by which somebody keeps them.  Nothing is changed here.

With a segment belong its files: the data, as it was written, compressed, or for a moment both,
and the index of each.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from capd import names
from capd.errors import StorageError
from capd.names import COMPRESSED_SUFFIX, DAMAGED_SUFFIX, INDEX_SUFFIX, SegmentName
from capd.numbering import Numbering

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
RACY = 50_000_000  # ns: a folder changed so shortly before it was read may change unnoticed
FOREIGN = 30.0  # seconds after which files that were not capd's are looked at again
STAT_BLOCK = 512  # bytes in which st_blocks counts, whatever the file system's blocks are
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # no folder, whatever else it is


class Segment(NamedTuple):
    """One finished segment, or what was set aside of one (`suffixes` has DAMAGED_SUFFIX)."""

    ring: str
    seq: int
    stamp: int  # ns since 1970: the smallest inside; 0 for one that was set aside
    size: int  # bytes that all its files take on the disk
    folder: str  # the dated folder; "" for one that was set aside, which lies in the ring's
    suffixes: tuple[str, ...]  # of its files, sorted
    own: bool  # whether all of them are capd's

    @property
    def suffix(self) -> str:
        """That of its data; compressed data counts more than raw, which is about to go."""
        if COMPRESSED_SUFFIX in self.suffixes:
            return COMPRESSED_SUFFIX
        return self.suffixes[0]

    @property
    def indexed(self) -> bool:
        """Whether there is an index of its data."""
        return self.suffix + INDEX_SUFFIX in self.suffixes

    @property
    def name(self) -> SegmentName:
        """That of its data."""
        return SegmentName(self.ring, self.stamp, self.seq, self.suffix)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files, below the capture directory, the data before its index."""
        if self.suffixes == (DAMAGED_SUFFIX,):
            return (f"{self.ring}/{names.damaged_name(self.seq)}",)
        stem = self.name.file.removesuffix(self.suffix)
        return tuple(f"{self.ring}/{self.folder}/{stem}{suffix}" for suffix in self.suffixes)

    @property
    def path(self) -> str:
        """That of its data, below the capture directory."""
        if self.suffixes == (DAMAGED_SUFFIX,):
            return self.files[0]
        return f"{self.ring}/{self.folder}/{self.name.file}"


class Part(NamedTuple):
    """A segment that a worker writes, or that one left behind."""

    seq: int
    size: int  # bytes on the disk


@dataclass
class RingFiles:
    """All files of one ring."""

    segments: list[Segment] = field(default_factory=list)  # in order (`numbering`)
    parts: list[Part] = field(default_factory=list)
    # files without a segment, below the capture directory: what somebody who makes an index or
    # a compressed file leaves when it dies
    leftovers: list[str] = field(default_factory=list)


@dataclass
class _Folder:
    """What was seen in one folder."""

    changed: int  # its mtime, or 0 if that cannot be relied on
    due: float  # monotonic: when what is not capd's is looked at again, which no mtime tells of
    groups: dict[str, _Group]  # by what the names of all its files begin with
    # of all groups, because looks outnumber changes by far
    segments: list[Segment]
    leftovers: list[str]  # below the capture directory


class _Group(NamedTuple):
    """The files of one number and stamp."""

    listed: tuple[str, ...]  # suffixes, whatever these files are; (): one could not be looked at
    segment: Segment | None
    leftovers: tuple[str, ...]  # suffixes of regular files that belong to no data

    @property
    def foreign(self) -> bool:
        """Whether it is a segment that is not capd's."""
        return self.segment is not None and not self.segment.own


class Catalog:
    """One capture directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        # Of the last scan, by ring: what of it cannot be looked at, and why.
        self.troubles: dict[str, list[str]] = {}
        self._folders: dict[str, _Folder] = {}  # dated ones, by path below the directory
        self._numberings: dict[str, Numbering[Segment]] = {}  # by ring

    def scan(self) -> dict[str, RingFiles]:
        """All rings' files, by ring.  StorageError if the directory cannot be read."""
        self.troubles = {}
        try:
            top = os.open(self.directory, DIRECTORY)
            try:
                listed = set(os.listdir(top)) - names.NO_RINGS
            except OSError:
                os.close(top)
                raise
        except OSError as error:
            raise StorageError(f"cannot read {self.directory}: {error.strerror}") from error
        try:
            owners = {os.geteuid(), os.fstat(top).st_uid}
            found = {}
            seen: set[str] = set()
            for ring in sorted(listed):
                files = self._ring(top, ring, owners, seen)
                if files is not None:
                    found[ring] = files
        finally:
            os.close(top)
        for gone in self._folders.keys() - seen:
            del self._folders[gone]
        return found

    def _ring(self, top: int, ring: str, owners: set[int], seen: set[str]) -> RingFiles | None:
        folder = self._open(top, ring, ring)
        if folder is None:
            return None
        files = RingFiles()
        try:
            for name in self._listed(folder, ring):
                if not names.is_folder(name):
                    try:
                        _add_undated(files, folder, ring, name, owners)
                    except OSError as error:
                        self._cannot_read(f"{ring}/{name}", error)
            # Behind the others: what gets its final name meanwhile is seen under that.
            for name in filter(names.is_folder, self._listed(folder, ring)):
                path = f"{ring}/{name}"
                dated = self._dated(folder, ring, name, owners)
                if dated is not None:
                    seen.add(path)
                    files.segments += dated.segments
                    files.leftovers += dated.leftovers
        finally:
            os.close(folder)
        order = self._numberings.setdefault(ring, Numbering())
        files.segments = order.in_order(files.segments, time.time_ns())
        files.parts.sort()
        return files

    def _dated(self, parent: int, ring: str, name: str, owners: set[int]) -> _Folder | None:
        path = f"{ring}/{name}"
        before, clock = self._folders.get(path), time.monotonic()
        due = before.due if before is not None else math.inf
        if before is not None and before.changed:
            try:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return None
            except OSError as error:
                self._cannot_read(path, error)
                return None
            if status.st_mtime_ns == before.changed and clock < due:
                return before
        folder = self._open(parent, name, path)
        if folder is None:
            return None
        try:
            began, changed = time.time_ns(), os.fstat(folder).st_mtime_ns
            known = before.groups if before is not None else {}
            groups = {}
            for stem, listed in names.suffixes_by_stem(os.listdir(folder)).items():
                group = known.get(stem)
                if group is None or group.listed != listed or (clock >= due and group.foreign):
                    group = self._look(folder, path, stem, listed, owners)
                groups[stem] = group
        except OSError as error:
            self._cannot_read(path, error)
            return None
        finally:
            os.close(folder)
        known_well = began - changed > RACY and all(one.listed for one in groups.values())
        after = _folder(path, changed if known_well else 0, groups)
        if any(group.foreign for group in groups.values()):
            after.due = due if clock < due < math.inf else clock + FOREIGN
        self._folders[path] = after
        return after

    def _look(
        self, folder: int, path: str, stem: str, listed: tuple[str, ...], owners: set[int]
    ) -> _Group:
        try:
            return _look(folder, path, stem, listed, owners)
        except OSError as error:
            self._cannot_read(path, error)
            return _Group((), None, ())

    def _open(self, parent: int, name: str, path: str) -> int | None:
        """A folder; None if there is none, or none that can be opened."""
        try:
            return os.open(name, DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno not in _ABSENT and path != names.LOST_AND_FOUND:
                self._cannot_read(path, error)
            return None

    def _listed(self, folder: int, path: str) -> list[str]:
        try:
            return os.listdir(folder)
        except OSError as error:
            self._cannot_read(path, error)
            return []

    def _cannot_read(self, path: str, error: OSError) -> None:
        told = self.troubles.setdefault(path.partition("/")[0], [])
        text = f"cannot read {self.directory}/{path}: {error.strerror}"
        if text not in told:
            told.append(text)


def regular(folder: int, name: str) -> os.stat_result | None:
    """The status of a regular file; None for anything else, and for what is not there.

    OSError: nobody knows.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def is_own(status: os.stat_result, owners: set[int]) -> bool:
    """Whether a regular file is capd's to delete: it has one of these owners and one link."""
    return status.st_uid in owners and status.st_nlink == 1


def everything(rings: dict[str, RingFiles]) -> Iterator[Segment]:
    """All segments, ring by ring."""
    for files in rings.values():
        yield from files.segments


def _add_undated(files: RingFiles, folder: int, ring: str, name: str, owners: set[int]) -> None:
    part, aside = names.parse_part(name), names.parse_damaged(name)
    status = regular(folder, name) if (part, aside) != (None, None) else None
    if status is None:
        return
    if part is not None:
        files.parts.append(Part(part, status.st_blocks * STAT_BLOCK))
    elif aside is not None:
        files.segments.append(_set_aside(ring, aside, status, owners))


def _set_aside(ring: str, seq: int, status: os.stat_result, owners: set[int]) -> Segment:
    size, own = status.st_blocks * STAT_BLOCK, is_own(status, owners)
    return Segment(ring, seq, 0, size, "", (DAMAGED_SUFFIX,), own)


def _folder(path: str, changed: int, groups: dict[str, _Group]) -> _Folder:
    segments = [group.segment for group in groups.values() if group.segment is not None]
    leftovers = [
        f"{path}/{stem}{suffix}" for stem, group in groups.items() for suffix in group.leftovers
    ]
    return _Folder(changed, math.inf, groups, segments, leftovers)


def _look(folder: int, path: str, stem: str, listed: tuple[str, ...], owners: set[int]) -> _Group:
    ring, _, dated = path.rpartition("/")
    name = names.parse_segment(stem + names.SEGMENT_SUFFIX)
    if name is None or name.ring != ring:
        return _Group(listed, None, ())
    found = {suffix: regular(folder, stem + suffix) for suffix in listed}
    files = {suffix: status for suffix, status in found.items() if status is not None}
    data = [suffix for suffix in files if suffix in names.DATA_SUFFIXES]
    kept = [suffix for suffix in files if suffix.removesuffix(INDEX_SUFFIX) in data]
    leftovers = names.shared(tuple(suffix for suffix in files if suffix not in kept))
    if not data:  # what was listed may have another name by now, and this one again
        is_settled = not any(suffix in names.DATA_SUFFIXES for suffix in listed)
        return _Group(listed if is_settled else (), None, leftovers)
    size = sum(files[suffix].st_blocks for suffix in kept) * STAT_BLOCK
    own = all(is_own(files[suffix], owners) for suffix in kept)
    whole = (name.ring, name.seq, name.stamp, size, dated, names.shared(tuple(kept)), own)
    return _Group(listed, Segment(*whole), leftovers)
