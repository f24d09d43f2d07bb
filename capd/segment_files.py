"""The files of a segment, found below its directory: opened without following a link.

What is in an index is `index`'s business, which segments there are `catalog`'s.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from capd import index as indexes
from capd.catalog import DIRECTORY, Segment
from capd.errors import StorageError
from capd.index import Totals

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_data(directory: str, segment: Segment) -> BinaryIO:
    """The data of a segment, to be read.  OSError."""
    return opened(directory, segment, segment.name.file)


def open_index(
    directory: str, segment: Segment, stored_size: int
) -> tuple[BinaryIO, Totals] | None:
    """The index of data of this size, and what it tells in short; None if there is none of use."""
    if not segment.indexed:
        return None
    try:
        file = opened(directory, segment, segment.name.index_file)
    except OSError:  # it went with the data, which are compressed now
        return None
    try:
        found = indexes.read_totals(file.fileno())
    except (OSError, StorageError):  # `verify` tells of it
        found = None
    if found is None or found.stored_size != stored_size:
        file.close()
        return None
    return file, found


def totals(directory: str, segment: Segment) -> Totals | None:
    """What the index of a segment's data says in short, if it belongs to them."""
    if not segment.indexed:
        return None
    stored_size = size(f"{directory}/{segment.path}")
    found = None if stored_size is None else open_index(directory, segment, stored_size)
    if found is None:
        return None
    file, told = found
    file.close()
    return told


def opened(directory: str, segment: Segment, name: str) -> BinaryIO:
    """A file in a segment's folder, to be read.  OSError."""
    folder = os.open(f"{directory}/{segment.ring}/{segment.folder}", DIRECTORY)
    try:
        fd = os.open(name, _FLAGS, dir_fd=folder)
    finally:
        os.close(folder)
    return open(fd, "rb", buffering=0)


def size(path: str) -> int | None:
    """Bytes of a file; None if it is not there any more."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:  # it was finished or deleted meanwhile
        return None
