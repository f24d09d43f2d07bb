"""The numbers that a ring has used in a folder, and in the second directory before it had one.

The second directory may be behind a network that hangs, and capture waits for nobody long: what it
does not tell in time counts as nothing, and readers tell such segments apart (`numbering`).
"""

from __future__ import annotations

import os
import threading

from capd import folders, names
from capd.errors import StorageError

PATIENCE = 2.0  # seconds


def highest(folder: int) -> int:
    """The highest number that a segment in a ring's folder has or had; 0 for none.  OSError."""
    last = 0
    for name in os.listdir(folder):
        last = max(last, names.parse_part(name) or names.parse_damaged(name) or 0)
        if not names.is_folder(name):
            continue
        try:
            dated = os.open(name, folders.DIRECTORY, dir_fd=folder)
        except NotADirectoryError:
            continue
        try:
            with os.scandir(dated) as entries:
                found = (names.parse_segment(entry.name) for entry in entries)
                last = max([last, *(segment.seq for segment in found if segment)])
        finally:
            os.close(dated)
    return last


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
        return highest(folder)
    except OSError as error:
        return error
    finally:
        os.close(folder)
