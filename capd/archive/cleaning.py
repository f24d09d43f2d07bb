"""Removes what an archive process left behind that died at its work.

That is files of capd's own, by their names made from a segment, which belong to no data and
which nobody works on.  Everything else is left alone.
"""

from __future__ import annotations

from capd import names
from capd.archive.folder import opened
from capd.catalog import Catalog
from capd.names import SegmentName


def subject(path: str) -> SegmentName | None:
    """The segment that a leftover was to belong to; None if it is nothing of ours."""
    _, _, file = path.rpartition("/")
    return names.parse_temporary(file) or names.parse_index(file)


def tidy(directory: str) -> None:
    """Remove all there are in a directory in which nobody works.  OSError, StorageError."""
    for files in Catalog(directory).scan().values():
        for path in files.leftovers:
            if subject(path) is not None:
                remove_leftover(directory, path)


def remove_leftover(directory: str, path: str) -> bool:
    """Remove one; False if it is none any more.  OSError: it could not be removed."""
    place, _, file = path.rpartition("/")
    with opened(directory, place) as folder:
        if folder is None:
            return False
        whole = names.parse_index(file)
        if whole is not None and folder.has(whole.file):
            return False  # its data came since the scan
        return folder.remove(file)
