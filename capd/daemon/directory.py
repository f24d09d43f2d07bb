"""Whether the capture directory can be trusted with captures, and proof that it works.

Packets hold passwords: the directory must belong to capd or root, and not everyone may be
able to put names into it.

`require_mount` means: the directory does not lie on the root file system.  That catches a
disk for /data or /data/captures that is not mounted where / is what lies below it.  It does
not catch one whose mount point lies on a further file system (a disk for /var/captures where
/var is one of its own), nor the wrong disk in the right place; and another mount of the root
file system (bind) still is the root file system, while a btrfs subvolume is not.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import re
import secrets
import shlex
import stat
from collections.abc import Iterator

from capd.daemon.mounts import View, view
from capd.errors import NO_ROOM, StorageError

_ADVICE = {
    errno.EACCES: "as root: install -d -m 750 -o {user} {path}",
    errno.EROFS: "mount its file system for writing",
    **dict.fromkeys(NO_ROOM, "make room on its file system"),
}


_CONFINED = """\
cannot use {path}: capd.service may not write there; as root, write this to
    /etc/systemd/system/capd.service.d/{name}.conf
        [Unit]
        RequiresMountsFor={unit_path}
        [Service]
        ReadWritePaths={unit_path}
    and run
        install -d -m 750 -o {user} -g {group} {shell_path}
        systemctl daemon-reload
        systemctl restart capd"""


def check_directory(path: str, *, require_mount: bool, keep: bool = True) -> None:
    """StorageError, a line for each reason, when captures must not or cannot be written there.

    The directory is made if there is none; with `keep` false it is removed again.  A line that
    begins with a space goes on with the reason of the line before.
    """
    _check_view(path)
    if require_mount and mount_point(path) == "/":
        raise StorageError(
            f"cannot use {path}: it is on the root file system, and require_mount is set; "
            "mount its disk first"
        )
    made = _make(path)
    try:
        _check_status(path, _status(path))
        _probe(path)
    finally:
        if not keep:
            _unmake(made)


def mount_doubts(key: str, path: str, *, require_mount: bool) -> Iterator[str]:
    """What may come to the root disk, about a directory that passed the check."""
    mount = mount_point(path)
    if mount != "/" and not require_mount:
        yield (
            f"{key}: {path} is on the disk mounted at {mount}; with "
            "require_mount = true capd does not fill the root disk when that is missing"
        )


def directory_doubts(path: str, *, require_mount: bool) -> Iterator[str]:
    """What works and is probably not meant, about a directory that passed the check."""
    yield from mount_doubts("storage.directory", path, require_mount=require_mount)
    try:
        status, space = os.stat(path), os.statvfs(path)
    except FileNotFoundError:
        return
    if status.st_mode & stat.S_IWGRP:
        yield (
            f"storage.directory: its group may write to {path}; run: chmod g-w {shlex.quote(path)}"
        )
    if not space.f_bavail or (space.f_files and not space.f_favail):
        mount = mount_point(path)
        yield f"storage.directory: the disk mounted at {mount} is full; packets will be lost"


def mount_point(path: str) -> str:
    """Where the file system is mounted that holds `path`, or will once `path` is made."""
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def existing(path: str) -> str:
    """The path itself, or the nearest folder above it that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _check_view(path: str) -> None:
    """What systemd lets its service see; nobody else is confined."""
    if "INVOCATION_ID" not in os.environ:
        return
    match view(existing(path)):
        case View.READ_ONLY:
            raise StorageError(_drop_in(path))
        case View.HIDDEN:
            raise StorageError(
                f"cannot use {path}: capd.service sees nothing of {mount_point(path)}; "
                "name a directory elsewhere"
            )
        case View.PRIVATE:
            raise StorageError(
                f"cannot use {path}: capd.service has a {mount_point(path)} of its own, which is "
                "deleted when it ends; name a directory elsewhere"
            )


def _drop_in(path: str) -> str:
    """How to open a directory to a service that may write only to what its unit names."""
    return _CONFINED.format(
        path=path,
        name=re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-") or "directory",
        unit_path=_quoted(path),
        user=_user(os.geteuid()),
        group=grp.getgrgid(os.getegid()).gr_name,
        shell_path=shlex.quote(path),
    )


def _quoted(path: str) -> str:
    """By the rules of systemd.syntax(7) and of specifiers."""
    path = path.replace("%", "%%")
    if not any(each in path for each in " \"'\\"):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _make(path: str) -> list[str]:
    """Make the directory and what is missing above it; gives what was made, from the top."""
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    made = []
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o755 if folder != missing[0] else 0o750)
            made.append(folder)
        except FileExistsError:
            continue  # another capd was quicker
        except OSError as error:
            _unmake(made)
            raise _refusal("make", missing[0], error) from error
    return made


def _unmake(folders: list[str]) -> None:
    for folder in reversed(folders):
        with contextlib.suppress(OSError):  # somebody uses it already
            os.rmdir(folder)


def _status(path: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise _refusal("use", path, error) from error


def _check_status(path: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise StorageError(
            f"cannot use {path}: it is a symbolic link to {os.readlink(path)}; "
            "name the directory itself"
        )
    if not stat.S_ISDIR(status.st_mode):
        raise StorageError(f"cannot use {path}: it is not a directory; move that file away")
    reasons, quoted = [], shlex.quote(path)
    if status.st_mode & stat.S_IWOTH:
        reasons.append(f"everyone may write to it; run: chmod o-w {quoted}")
    if status.st_uid not in (0, os.geteuid()):
        owner, user = _user(status.st_uid), _user(os.geteuid())
        reasons.append(f"it belongs to {owner} and capd runs as {user}; run: chown {user} {quoted}")
    if reasons:
        raise StorageError("\n".join(f"cannot use {path}: {reason}" for reason in reasons))


def _probe(path: str) -> None:
    """Open, create, rename and unlink, as a worker and the reaper will.

    A full disk is no reason to refuse: capd counts what it loses, and goes on when there is room.
    """
    step = "open"
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            step = "create a file in"
            name = f".capd-probe-{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o600, dir_fd=folder))
            step = "rename a file in"
            os.rename(name, f"{name}-renamed", src_dir_fd=folder, dst_dir_fd=folder)
            step = "remove a file from"
            os.unlink(f"{name}-renamed", dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise _refusal(step, path, error) from error


def _refusal(step: str, path: str, error: OSError) -> StorageError:
    number = errno.EACCES if error.errno == errno.EPERM else error.errno
    user = _user(os.geteuid())
    reason = f"user {user} may not" if number == errno.EACCES else error.strerror
    advice = _ADVICE.get(number or 0, "name another directory")
    return StorageError(
        f"cannot {step} {path}: {reason}; {advice.format(user=user, path=shlex.quote(path))}"
    )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
