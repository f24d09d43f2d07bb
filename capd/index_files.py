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


def opened(directory: str, segment: Segment, name: str) -> BinaryIO:
    """A file in a segment's folder, to be read.  OSError."""
    folder = os.open(f"{directory}/{segment.ring}/{segment.folder}", DIRECTORY)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)
    return open(fd, "rb", buffering=0)


def totals(directory: str, segment: Segment) -> Totals | None:
    """What the index of a segment's data says in short, if it belongs to them."""
    if not segment.indexed:
        return None
    try:
        with opened(directory, segment, segment.name.index_file) as file:
            found = indexes.read_totals(file.fileno())
    except (OSError, StorageError):  # `verify` tells of it
        return None
    return found if found.stored_size == size(f"{directory}/{segment.path}") else None


def size(path: str) -> int | None:
    """Bytes of a file; None if it is not there any more."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:  # it was finished or deleted meanwhile
        return None
