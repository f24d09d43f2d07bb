"""Until when a ring was captured, read off what its capture left in the folder.

A closed segment ends with the counters of its closing, and their stamp is that moment; of a
compressed one the index tells it.  One that nobody closed was last written when its file says,
which is near enough for a gap.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

from capd.errors import StorageError
from capd.index import read_totals
from capd.names import COMPRESSED_SUFFIX, INDEX_SUFFIX, is_folder, parse_part, parse_segment
from capd.pcapng import INTERFACE_STATISTICS
from capd.survey import survey

LOOKS = 100  # at a folder in which names change, or a segment is being salvaged
_LOOK_EVERY = 0.1  # seconds
_BEGIN = 4096  # bytes in which a segment's first packet begins
_TAIL = 64 * 1024  # bytes: more than the last block of a segment ever has
_HEAD = struct.Struct("=IIIII")  # type, length, interface, both halves of the stamp


def captured_until(directory: str, ring: str, born: int, looks: int = LOOKS) -> int | None:
    """ns since 1970; None if there is nothing of this ring, or nothing that tells.

    `born`: since when it is captured again, in the same folder.
    """
    for _ in range(looks):
        with suppress(FileNotFoundError):
            return _latest(f"{directory}/{ring}", born)
        time.sleep(_LOOK_EVERY)
    return None


def _latest(folder: str, born: int) -> int | None:
    """FileNotFoundError: one was renamed, compressed or deleted meanwhile, or is being salvaged."""
    files = {number: (closed, path) for number, closed, path in sorted(_files(folder))}
    written = [_written(path, born) for closed, path in files.values() if not closed]
    latest = max((at for at in written if at < born), default=None)
    for path in (path for closed, path in reversed(files.values()) if closed):
        try:
            until = _told_by_index(path) if path.endswith(COMPRESSED_SUFFIX) else _closed_at(path)
        except FileNotFoundError:
            raise
        except (OSError, StorageError):  # it is not whole
            until = None
        if until is None or until > time.time_ns():  # or the clock was ahead: who knows how long
            return latest
        if until < born:  # or it is the new ring's
            return until if latest is None else max(until, latest)
    return latest


def _written(path: str, born: int) -> int:
    """When something was written last to a segment that nobody closed."""
    written = os.stat(path).st_mtime_ns
    if written >= born and _begins_before(path, born):
        raise FileNotFoundError(path)  # soon, as it is being salvaged under this name
    return written


def _begins_before(path: str, born: int) -> bool:
    """Whether there is a packet of that time; of what cannot be read nobody knows.

    FileNotFoundError.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_BEGIN)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    found = survey(content, 0, len(content))
    return found.packets > 0 and found.first < born


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
