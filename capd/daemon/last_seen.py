"""Until when an earlier capd captured a ring, read off what it left in the folder.

A closed segment ends with the counters of its closing, and their stamp is that moment; of a
compressed one the index tells it.  One that nobody closed was last written when its file says,
which is near enough for a gap.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from capd.errors import StorageError
from capd.index import read_totals
from capd.names import COMPRESSED_SUFFIX, INDEX_SUFFIX, is_folder, parse_part, parse_segment
from capd.pcapng import INTERFACE_STATISTICS

_TAIL = 64 * 1024  # bytes: more than the last block of a segment ever has
_HEAD = struct.Struct("=IIIII")  # type, length, interface, both halves of the stamp


def captured_until(directory: str, ring: str) -> int | None:
    """ns since 1970; None if there is nothing of this ring, or nothing that tells."""
    found = max(_files(f"{directory}/{ring}"), default=None)
    if found is None:
        return None
    _, closed, path = found
    try:
        if not closed:
            return os.stat(path).st_mtime_ns
        return _told_by_index(path) if path.endswith(COMPRESSED_SUFFIX) else _closed_at(path)
    except (OSError, StorageError):  # it was deleted meanwhile, or is not whole
        return None


def _files(folder: str) -> Iterator[tuple[int, bool, str]]:
    """The segments of a ring: number, whether it is closed, path."""
    for name in _names(folder):
        number = parse_part(name)
        if number is not None:
            yield number, False, f"{folder}/{name}"
        elif is_folder(name):
            for file in _names(f"{folder}/{name}"):
                segment = parse_segment(file)
                if segment is not None:
                    yield segment.seq, True, f"{folder}/{name}/{file}"


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _told_by_index(path: str) -> int | None:
    with open(f"{path}{INDEX_SUFFIX}", "rb") as file:
        return read_totals(file.fileno()).closed or None


def _closed_at(path: str) -> int | None:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
    length = int.from_bytes(tail[-4:], "little")
    if not _HEAD.size <= length <= len(tail):
        return None
    kind, _, _, high, low = _HEAD.unpack_from(tail, len(tail) - length)
    return (high << 32 | low) if kind == INTERFACE_STATISTICS else None
