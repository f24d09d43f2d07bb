"""Whether the capture directory can be trusted with captures, and proof that it works.

Packets hold passwords: the directory must belong to capd or root and be closed to the
world, and nobody else may be able to put names into it.
"""

from __future__ import annotations

import os
import stat

from capd.errors import StorageError

_PROBE = ".capd-probe"


def check_directory(path: str, *, require_mount: bool) -> None:
    """StorageError when captures must not be written to `path`, or cannot be."""
    if require_mount and mount_point(path) == "/":
        raise StorageError(
            f"cannot use {path}: it is not on a mount of its own, and require_mount is set; "
            "mount its disk first"
        )
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        _make(path)
        status = os.lstat(path)
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror}") from error
    if stat.S_ISLNK(status.st_mode):
        raise StorageError(
            f"cannot use {path}: it is a symbolic link to {os.readlink(path)}; "
            "name the directory itself"
        )
    if not stat.S_ISDIR(status.st_mode):
        raise StorageError(f"cannot use {path}: it is not a directory; move that file away")
    if status.st_mode & stat.S_IWOTH:
        raise StorageError(f"cannot use {path}: everyone may write to it; run chmod o-w {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise StorageError(
            f"cannot use {path}: it belongs to user {status.st_uid}; run chown to capd's user"
        )
    _probe(path)


def mount_point(path: str) -> str:
    """Where the file system is mounted that holds `path`, or will once `path` is made."""
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def _make(path: str) -> None:
    try:
        os.makedirs(path, mode=0o750)
    except OSError as error:
        raise StorageError(f"cannot make {path}: {error.strerror}; make it by hand") from error


def _probe(path: str) -> None:
    """Open, create, rename and unlink, as a worker and the reaper will."""
    step = "open"
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            step = "create a file in"
            name = f"{_PROBE}-{os.getpid()}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o600, dir_fd=folder))
            step = "rename a file in"
            os.rename(name, f"{name}-renamed", src_dir_fd=folder, dst_dir_fd=folder)
            step = "remove a file from"
            os.unlink(f"{name}-renamed", dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageError(
            f"cannot {step} {path}: {error.strerror}; is it writable for user {os.geteuid()}?"
        ) from error
