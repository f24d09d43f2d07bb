"""Trying what the service needs as it would: as the user of capd.service, inside its confinement.

systemd is asked what holds for the unit, drop-ins included, and to run the trial under the
same.  Where there is no such unit, or nobody may ask, a directory is tried from here.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from capd.daemon.directory import check_directory
from capd.errors import StorageError
from capd.units import shown

UNIT = "capd.service"
COMMANDS_UNIT = "capd-exec.service"
_CONFIG = "/etc/capd.toml"  # of a unit that names none
_TIMEOUT = 30.0  # seconds
_MOST_READ = 256  # bytes: BINPRM_BUF_SIZE, all that the kernel looks at
_INTERPRETER = re.compile(rb"#![ \t]*([^ \t\n]+)")
# What decides on what can be seen and written.
_PROPERTIES = (
    *("User", "Group", "SupplementaryGroups", "UMask", "StateDirectory", "StateDirectoryMode"),
    *("AmbientCapabilities", "CapabilityBoundingSet", "NoNewPrivileges"),
    *("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "RootDirectory"),
    *("ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths"),
    *("TemporaryFileSystem", "RequiresMountsFor"),
)


def try_directory(path: str, *, require_mount: bool) -> None:
    """Have the service try it; StorageError as `check_directory` raises it."""
    held = _held(UNIT)
    if held:
        _inside(UNIT, held, path, *["--require-mount"] * require_mount)
    elif not is_the_services(path):
        check_directory(path, require_mount=require_mount, keep=False)


def is_the_services(path: str) -> bool:
    """Whether a directory belongs to the user of the service, as whom only root can try it."""
    if os.geteuid() == 0:
        return False
    try:
        user = _properties(UNIT).get("User", "")
        return os.lstat(path).st_uid == pwd.getpwnam(user).pw_uid != os.geteuid()
    except (KeyError, OSError, StorageError):  # no such user, nothing there, no answer
        return False


def rings_kept() -> int | None:
    """How many rings systemd keeps over a restart of the service; None where nobody knows."""
    try:
        most = _properties(UNIT, _STORE).get(_STORE)
    except StorageError:
        return None
    return None if most is None else int(most) // 2  # each has a memory beside it


def try_config(path: str) -> None:
    """Have the service read it, if it is the file that the unit names; StorageError."""
    held = _held(UNIT, "ExecStart")
    named = re.search(r" --config[ =](\S+)", held.pop("ExecStart", ""))
    path = os.path.abspath(path)
    if held and path == (named[1] if named else _CONFIG) and os.path.isfile(path):
        _inside(UNIT, held, path, _READ)


def try_program(path: str) -> None:
    """Have the service that runs the config's commands find it; StorageError."""
    held = _held(COMMANDS_UNIT)
    if held and os.path.exists(path):
        _inside(COMMANDS_UNIT, held, path, _FIND)
    else:
        _find(path)


def _inside(unit: str, held: dict[str, str], path: str, *options: str) -> None:
    """Run a trial where this holds of the unit; StorageError with what it says."""
    # Not on a disk: what is wrong may be that they are full.
    with tempfile.TemporaryDirectory(prefix="capd-check-", dir="/run") as folder:
        said = Path(folder) / "said"
        trial = [sys.executable, "-I", "-m", __name__, path, *options]
        argv = ["systemd-run", "--quiet", "--collect", "--service-type=oneshot"]
        argv += [f"--property={name}={value}" for name, value in held.items()]
        argv += [f"--property=StandardOutput=file:{said}", "--property=StandardError=journal"]
        done = _run(*argv, *trial)
        answer = said.read_text() if said.exists() else ""
    if not answer:
        why = done.stderr.strip() or "it said nothing"
        raise StorageError(f"cannot try {path} the way {unit} would: {why}")
    if answer != _FINE:
        raise StorageError(answer)


_FINE = "fine\n"
_READ, _FIND = "--read", "--find"
_STORE = "FileDescriptorStoreMax"


def _held(unit: str, *more: str) -> dict[str, str]:
    """What a trial needs to know of a unit; nothing where there is none, or it is not for us."""
    return _properties(unit, *more) if os.geteuid() == 0 else {}


def _properties(unit: str, *more: str) -> dict[str, str]:
    """A unit's properties that matter; none where there is no unit."""
    if not os.path.isdir("/run/systemd/system"):
        return {}
    asked = [f"--property={name}" for name in ("LoadState", *_PROPERTIES, *more)]
    try:
        shown = _run("systemctl", "show", *asked, unit).stdout.splitlines()
    except FileNotFoundError:
        return {}
    held = dict(line.split("=", 1) for line in shown if "=" in line)
    if held.pop("LoadState", "") != "loaded":
        return {}
    return {name: value for name, value in held.items() if value}


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise StorageError(f"{argv[0]} gave no answer within {_TIMEOUT:.0f} s") from error


def _try(path: str, *options: str) -> None:
    """What runs inside: says why not, or that all is well."""
    try:
        if _READ in options:
            _read(path)
        elif _FIND in options:
            _find(path, f" that {COMMANDS_UNIT} can see")
        else:
            check_directory(path, require_mount="--require-mount" in options, keep=False)
    except StorageError as error:
        print(error, end="")
    else:
        print(_FINE, end="")


def _read(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        text = f"{UNIT} cannot read it: {error.strerror}"
        if isinstance(error, PermissionError):
            group, quoted = grp.getgrgid(os.getegid()).gr_name, shlex.quote(path)
            text += f"; as root: chgrp {group} {quoted} && chmod g+r {quoted}"
        raise StorageError(text) from error


def _find(path: str, where: str = "") -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise StorageError(f"there is no {path}{where}") from error
    except OSError as error:
        raise StorageError(f"cannot run {path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise StorageError(f"cannot run {path}: it is not a file")
    if not os.access(path, os.X_OK):
        user = pwd.getpwuid(os.geteuid()).pw_name
        advice = f"chmod a+rx {shlex.quote(path)}"
        raise StorageError(f"cannot run {path}: user {user} may not; {advice}")
    _look_into(path)


def _look_into(path: str) -> None:
    """Whether the kernel knows what to run it with, as there is no shell to ask."""
    try:
        with open(path, "rb") as file:
            begin = file.read(_MOST_READ)
    except OSError:  # a program need not be readable
        return
    script = _INTERPRETER.match(begin)
    if script is not None:
        interpreter = script[1].decode(errors="backslashreplace")
        if not os.access(interpreter, os.X_OK):
            raise StorageError(
                f"cannot run {path}: its first line names {shown(interpreter)}, which is not there"
            )
    elif b"\0" not in begin:  # no program of any kind
        raise StorageError(f"cannot run {path}: it is a script without #! and its interpreter")


if __name__ == "__main__":
    _try(*sys.argv[1:])
