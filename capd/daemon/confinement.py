"""Trying a directory as the service would: as the user of capd.service, inside its confinement.

systemd is asked what holds for the unit, drop-ins included, and to run the trial under the
same.  Where there is no such unit, or nobody may ask, the directory is tried from here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from capd.daemon.directory import check_directory
from capd.errors import StorageError

UNIT = "capd.service"
_TIMEOUT = 30.0  # seconds
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
    held = _held()
    if not held:
        check_directory(path, require_mount=require_mount, keep=False)
        return
    with tempfile.TemporaryDirectory(prefix="capd-check-") as folder:
        said = Path(folder) / "said"
        trial = [sys.executable, "-I", "-m", __name__, path, *["--require-mount"] * require_mount]
        argv = ["systemd-run", "--quiet", "--collect", "--service-type=oneshot"]
        argv += [f"--property={name}={value}" for name, value in held.items()]
        argv += [f"--property=StandardOutput=file:{said}", "--property=StandardError=journal"]
        done = _run(*argv, *trial)
        answer = said.read_text() if said.exists() else ""
    if not answer:
        why = done.stderr.strip() or "it said nothing"
        raise StorageError(f"cannot try {path} the way {UNIT} would: {why}")
    if answer != _FINE:
        raise StorageError(answer)


_FINE = "fine\n"


def _held() -> dict[str, str]:
    """The unit's properties that matter; none where there is no unit, or not for us to ask."""
    if os.geteuid() != 0 or not os.path.isdir("/run/systemd/system"):
        return {}
    asked = [f"--property={name}" for name in ("LoadState", *_PROPERTIES)]
    try:
        shown = _run("systemctl", "show", *asked, UNIT).stdout.splitlines()
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
    """What runs inside: says what `check_directory` says."""
    try:
        check_directory(path, require_mount="--require-mount" in options, keep=False)
    except StorageError as error:
        print(error, end="")
    else:
        print(_FINE, end="")


if __name__ == "__main__":
    _try(*sys.argv[1:])
