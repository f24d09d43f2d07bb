"""How a finished segment gets its name: into a dated folder, over nothing, durably.

Everything is relative to the descriptor of a ring's folder and follows no symbolic link.  This
module knows no file's content; which segment gets which name is for others to say.
"""

from __future__ import annotations

import contextlib
import errno
import os

from capd.names import SegmentName

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER_MODE = 0o750


def subfolder(parent: int, name: str) -> int:
    """A descriptor of the folder `name`, which is made durably where it is missing."""
    try:
        return os.open(name, DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # somebody was quicker
            os.mkdir(name, FOLDER_MODE, dir_fd=parent)
        os.fsync(parent)
        return os.open(name, DIRECTORY, dir_fd=parent)


def is_on_root(directory: str | int) -> bool:
    """Whether it lies on the root file system, which `require_mount` forbids.  OSError."""
    return os.stat(directory).st_dev == os.stat("/").st_dev


def rename(source: int, old: str, target: int, new: str) -> None:
    """FileExistsError if anything has the new name, even a link that leads nowhere."""
    if _exists(new, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
    os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)


def rename_segment(ring: int, old: str, name: SegmentName) -> None:
    """Give a file in a ring's folder the name of a finished segment."""
    dated = subfolder(ring, name.folder)
    try:
        rename(ring, old, dated, name.file)
    finally:
        os.close(dated)


def sync_name(ring: int, name: SegmentName) -> None:
    """Make a segment's new name durable."""
    dated = subfolder(ring, name.folder)
    try:
        os.fsync(dated)
        os.fsync(ring)
    finally:
        os.close(dated)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
