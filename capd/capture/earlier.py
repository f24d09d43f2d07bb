"""The numbers that a ring has used in a folder, and in the second directory before it had one.

The second directory may be behind a network that hangs, and capture waits for nobody long: what it
does not tell in time counts as nothing, and readers tell such segments apart (`numbering`).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable

from capd import folders, names
from capd.errors import StorageError

PATIENCE = 2.0  # seconds
_NONE = (errno.ENOENT, errno.ENOTDIR)
_LASTING = (errno.EACCES, errno.EPERM, errno.EIO, errno.EUCLEAN)


def highest(folder: int, doubt: Callable[[str, OSError], None]) -> int:
    """The highest number that a segment in a ring's folder has or had; 0 for none.  OSError.

    `doubt` is told of a dated folder that nobody will be able to read soon.
    """
    last = 0
    for name in os.listdir(folder):
        last = max(last, names.parse_part(name) or names.parse_damaged(name) or 0)
        if not names.is_folder(name):
            continue
        try:
            last = max(last, _highest_of(folder, name))
        except OSError as error:
            if error.errno in _LASTING:
                doubt(name, error)
            elif error.errno not in _NONE:
                raise
    return last


def _highest_of(folder: int, name: str) -> int:
    """That of a dated folder.  OSError."""
    dated = os.open(name, folders.DIRECTORY, dir_fd=folder)
    try:
        with os.scandir(dated) as entries:
            found = (names.parse_segment(entry.name) for entry in entries)
            return max((segment.seq for segment in found if segment), default=0)
    finally:
        os.close(dated)


def highest_in(path: str) -> int:
    """The same of a folder that may be missing.  StorageError: it cannot be looked at, or hangs."""
    found: list[int | OSError] = []
    thread = threading.Thread(target=lambda: found.append(_look(path)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    told = found[0] if found else TimeoutError(None, "it does not answer")
    if isinstance(told, OSError):
        raise StorageError(f"cannot read {path}: {told.strerror}")
    return told


def _look(path: str) -> int | OSError:
    try:
        folder = os.open(path, folders.DIRECTORY)
    except FileNotFoundError:
        return 0
    except OSError as error:
        return error
    try:
        return highest(folder, _refuse)
    except OSError as error:
        return error
    finally:
        os.close(folder)


def _refuse(_: str, error: OSError) -> None:
    raise error
