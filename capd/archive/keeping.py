"""What the archive process does to one segment, in an order that loses nothing at any moment.

Files are made under `.part` names, confirmed by the disk, renamed (the index before the data
that it belongs to), and confirmed again before the raw file goes.  So after a kill anywhere
there is the raw file, or whole compressed one, or both; what else is left is removed by the
next scan (`cleaning.py`).  An error removes what was made; the raw file is all that is needed
to begin anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from capd import index
from capd.archive.compressor import Between, compress, examine, room
from capd.archive.direct import Reader, Writer
from capd.archive.folder import File, Folder
from capd.archive.rebuild import rebuild
from capd.errors import StorageError
from capd.index import MOST_INDEX, Index
from capd.names import COMPRESSED_SUFFIX, SEGMENT_SUFFIX, TEMPORARY_SUFFIX, SegmentName
from capd.sections import is_compressed

T = TypeVar("T")


class Sizes(NamedTuple):
    """Of a segment that was compressed."""

    raw: int
    compressed: int


def read_index(folder: Folder, name: SegmentName) -> Index | None:
    """The index of a segment; None if there is none, or none that fits its data."""
    with folder.reading(name.file) as data, folder.reading(name.index_file) as file:
        if data is None or file is None or file.status.st_size > MOST_INDEX:
            return None
        try:
            found = index.decode(_whole(file))
        except StorageError:
            return None
        fits = found.stored_size == data.status.st_size
        return found if fits and is_compressed(found) == _compressed(name) else None


def make_index(folder: Folder, name: SegmentName, section_size: int, between: Between) -> bool:
    """Index a segment as it is; False if it is gone, or has an index already.

    StorageError: the segment is not whole.
    """
    if read_index(folder, name) is not None:
        return False
    with folder.reading(name.file) as data, draft(folder) as made:
        if data is None:
            return False
        if _compressed(name):
            source = Reader(data.fd, room(section_size), direct=data.direct)
            contents = rebuild(source, between)
        else:
            source = Reader(data.fd, room(section_size), direct=data.direct)
            contents = examine(source, section_size, between)
        made.write(name.index_file, lambda file: file.append(index.encode(contents)))
        if not folder.has(name.file, data.status):
            return False
        made.publish(name.index_file)
        folder.sync()
        made.keep()
    return True


def make_compressed(
    folder: Folder, name: SegmentName, level: int, section_size: int, between: Between
) -> Sizes | None:
    """Put a compressed segment in the place of a raw one; None if that is gone meanwhile.

    StorageError: the segment is not whole.  MismatchError: it does not come back the same.
    """
    target = name._replace(suffix=COMPRESSED_SUFFIX)
    with folder.reading(name.file) as data:
        if data is None or folder.has(target.file):
            return None
        source = Reader(data.fd, room(section_size), direct=data.direct)
        with draft(folder) as made:
            contents = made.write(
                target.file,
                lambda file: compress(source, file, level, section_size, between).contents,
            )
            made.write(target.index_file, lambda file: file.append(index.encode(contents)))
            if not folder.has(name.file, data.status):
                return None  # retention took it, and is not to find it again
            made.publish(target.index_file)
            made.publish(target.file)
            folder.sync()
            made.keep()
        remove(folder, name)
        return Sizes(contents.raw_size, contents.stored_size)


def settle(folder: Folder, name: SegmentName) -> bool:
    """Remove the raw form of a segment whose compressed one, `name`, is whole and indexed.

    False if it is not indexed.  StorageError: one is not the other's.
    """
    contents = read_index(folder, name)
    if contents is None:
        return False
    raw = name._replace(suffix=SEGMENT_SUFFIX)
    with folder.reading(raw.file) as data:
        if data is not None and data.status.st_size != contents.raw_size:
            raise StorageError(f"{raw.file} beside it is of another size than what it holds")
    folder.sync()  # whoever renamed it may have died before
    remove(folder, raw)
    return True


def remove(folder: Folder, name: SegmentName) -> None:
    """Delete a segment in this form: there is another, whole and confirmed."""
    folder.remove(name.file)
    folder.remove(name.index_file)


def _compressed(name: SegmentName) -> bool:
    return name.suffix == COMPRESSED_SUFFIX


def _whole(file: File) -> bytes:
    source = Reader(file.fd, file.status.st_size, direct=file.direct)
    source.fill(source.size)
    return bytes(source.window)


class Draft:
    """Files that are removed again unless all of them are kept."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._made: list[str] = []

    def write(self, name: str, fill: Callable[[Writer], T]) -> T:
        """Make what is to have this name, and have the disk confirm it."""
        with self._folder.creating(name + TEMPORARY_SUFFIX) as file:
            self._made.append(name + TEMPORARY_SUFFIX)
            writer = Writer(file.fd, direct=file.direct)
            result = fill(writer)
            writer.finish()
        return result

    def publish(self, name: str) -> None:
        """Give it the name."""
        self._folder.rename(name + TEMPORARY_SUFFIX, name)
        self._made.remove(name + TEMPORARY_SUFFIX)
        self._made.append(name)

    def keep(self) -> None:
        """All is done."""
        self._made.clear()

    def discard(self) -> None:
        """Remove what there is of it, the data before its index."""
        for name in reversed(self._made):
            with contextlib.suppress(OSError):  # then the next scan removes it
                self._folder.remove(name)


@contextmanager
def draft(folder: Folder) -> Iterator[Draft]:
    """What was made and not kept when this ends is removed."""
    one = Draft(folder)
    try:
        yield one
    finally:
        one.discard()
