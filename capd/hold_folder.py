"""Holds on the disk: their folder in a capture directory, one file a hold.

    capd-held-ranges/<id>.json          a hold (`holds`); written whole or not at all
    capd-held-ranges/<id>.json.part     one that is being written, or was when its writer died:
                                        it holds nothing

Root and the members of the folder's group may make and remove holds: the group of the capture
directory, capd's own where capd is a service.  Everything is relative to descriptors and follows
no symbolic link.

What has the name of a hold and cannot be read as one is a *doubt*: nobody knows what it was to
keep.  A segment that is deleted is gone for ever, while a full disk is loud and can be mended;
but a file that nobody understands must not end the recording either.  So a doubt keeps what there
was when the file was last changed (st_ctime, which nobody sets), of every interface, and nothing
that came later.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

from capd import folders
from capd.errors import StorageError
from capd.holds import Hold, Span, decode, encode
from capd.names import HOLD_FOLDER, TEMPORARY_SUFFIX
from capd.units import printable

SUFFIX = ".json"
MOST_FILE = 64 * 1024  # bytes: no hold is longer
FOLDER_MODE = 0o770
FILE_MODE = 0o640

Signature = frozenset[tuple[str, int, int, int]]  # of each file: name, inode, ctime, size


class Doubt(NamedTuple):
    """A file that is no hold, or a folder that cannot be read."""

    path: str
    why: str
    until: int  # ns since 1970: what began before is kept

    @property
    def span(self) -> Span:
        """What it keeps."""
        return Span(0, self.until)

    @property
    def text(self) -> str:
        """For people."""
        return f"{printable(self.path)}: {self.why}"


class Found(NamedTuple):
    """What is in a folder."""

    holds: tuple[Hold, ...] = ()  # by when they were made; the daemon ends those that are over
    doubts: tuple[Doubt, ...] = ()

    @property
    def spans(self) -> list[Span]:
        """What all of it keeps."""
        return [hold.span for hold in self.holds] + [doubt.span for doubt in self.doubts]


@contextlib.contextmanager
def opened(directory: str) -> Iterator[int | None]:
    """The folder, to read; None if there is none.  StorageError."""
    fds: list[int] = []
    try:
        fds.append(os.open(directory, folders.DIRECTORY))
        with contextlib.suppress(FileNotFoundError):
            fds.append(os.open(HOLD_FOLDER, folders.DIRECTORY, dir_fd=fds[0]))
        yield fds[1] if len(fds) == 2 else None
    except OSError as error:
        raise refusal("read the holds", directory, error) from error
    finally:
        for fd in fds:
            os.close(fd)


def make(directory: str) -> int:
    """A descriptor of the folder, made if it is missing, for the directory's owner and group.

    StorageError.
    """
    try:
        top = os.open(directory, folders.DIRECTORY)
        try:
            return os.open(HOLD_FOLDER, folders.DIRECTORY, dir_fd=top)
        except FileNotFoundError:
            return _made(top)
        finally:
            os.close(top)
    except OSError as error:
        raise refusal("hold anything", directory, error) from error


def _made(top: int) -> int:
    with contextlib.suppress(FileExistsError):  # somebody was quicker
        os.mkdir(HOLD_FOLDER, 0o700, dir_fd=top)
        fd = os.open(HOLD_FOLDER, folders.DIRECTORY, dir_fd=top)
        status = os.fstat(top)
        with contextlib.suppress(PermissionError):  # the daemon's own group will do
            os.fchown(fd, status.st_uid if not os.geteuid() else -1, status.st_gid)
        os.fchmod(fd, FOLDER_MODE)
        os.fsync(top)
        return fd
    return os.open(HOLD_FOLDER, folders.DIRECTORY, dir_fd=top)


def path_of(directory: str, identity: str) -> str:
    """The file of a hold in a capture directory."""
    return f"{directory}/{HOLD_FOLDER}/{identity}{SUFFIX}"


def signature(folder: int) -> Signature:
    """Another one as soon as a hold was made, changed or removed.  OSError."""
    found = set()
    for name in os.listdir(folder):
        if name.endswith(SUFFIX):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                found.add((name, status.st_ino, status.st_ctime_ns, status.st_size))
    return frozenset(found)


def read(folder: int, directory: str) -> Found:
    """All holds, and what cannot be understood.  OSError if the folder cannot be listed."""
    holds, doubts = [], []
    for name in sorted(one for one in os.listdir(folder) if one.endswith(SUFFIX)):
        try:
            holds.append(_read(folder, name))
        except FileNotFoundError:
            continue  # it was released meanwhile
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            why = f"it cannot be understood as a hold: {printable(why)}"
            path = path_of(directory, name.removesuffix(SUFFIX))
            doubts.append(Doubt(path, why, _changed(folder, name)))
    return Found(tuple(sorted(holds, key=lambda hold: (hold.made_at, hold.id))), tuple(doubts))


def of(directory: str) -> Found:
    """The holds of a capture directory; none if it has no folder for them.  StorageError."""
    with opened(directory) as folder:
        return Found() if folder is None else read(folder, directory)


def write(folder: int, hold: Hold) -> None:
    """Put a hold there, durably; readable for the folder's group.  OSError."""
    name = hold.id + SUFFIX
    temporary = name + TEMPORARY_SUFFIX
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        try:
            os.fchown(fd, -1, os.fstat(folder).st_gid)
            os.fchmod(fd, FILE_MODE)
            content = encode(hold).encode()
            while content:
                content = content[os.write(fd, content) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        folders.rename(folder, temporary, folder, name)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def remove(folder: int, identity: str) -> bool:
    """End a hold, durably; False if there is none under this id.  OSError."""
    try:
        os.unlink(identity + SUFFIX, dir_fd=folder)
    except FileNotFoundError:
        return False
    os.fsync(folder)
    return True


def refusal(what: str, directory: str, error: OSError) -> StorageError:
    """The error for somebody who wanted to do that in a capture directory."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return StorageError(f"cannot {what} in {directory}: {error.strerror}")
    group = "the directory's group"
    for path in (f"{directory}/{HOLD_FOLDER}", directory):
        with contextlib.suppress(OSError, KeyError):
            group = f"the group {grp.getgrgid(os.stat(path).st_gid).gr_name}"
            break
    return StorageError(
        f"cannot {what} in {directory}: only root and the members of {group} may; "
        "where capd has not run yet, only root"
    )


def _read(folder: int, name: str) -> Hold:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=folder)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > MOST_FILE:
            raise ValueError(f"it is longer than {MOST_FILE} bytes")
        hold = decode(os.read(fd, MOST_FILE))
    finally:
        os.close(fd)
    if hold.id + SUFFIX != name:
        raise ValueError(f"the hold in it is {hold.id}")
    return hold


def _changed(folder: int, name: str) -> int:
    """When, ns since 1970: now at the latest, as the clock may have been ahead then."""
    now = time.time_ns()
    try:
        return min(now, os.stat(name, dir_fd=folder, follow_symlinks=False).st_ctime_ns)
    except OSError:
        return now
