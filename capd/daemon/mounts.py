"""What this process sees at a path: systemd may show a service less than there is.

A unit's ProtectSystem= makes mounts read-only for the service alone, ProtectHome= covers /home
and /root, PrivateTmp= puts an empty /tmp in place of the real one.  Told from proc(5), mountinfo.
"""

from __future__ import annotations

import os
import re
from enum import Enum, auto
from typing import NamedTuple


class View(Enum):
    """How much of what is at a path is to be had."""

    WHOLE = auto()  # as much as there is
    READ_ONLY = auto()  # the disk takes writes, but not through this mount
    HIDDEN = auto()  # something inaccessible lies over it
    PRIVATE = auto()  # an empty folder of the service's own lies over it, and ends with it


class _Mount(NamedTuple):
    point: str
    root: str  # what of the file system is mounted
    options: list[str]  # of the mount
    disk: list[str]  # options of the file system


def view(path: str) -> View:
    """How the mount that holds an existing path shows it to this process."""
    mount = _mount_of(os.path.realpath(path))
    if mount.root.endswith("/inaccessible/dir"):  # below /run/systemd, or /run/host in a container
        return View.HIDDEN
    if "/systemd-private-" in mount.root:
        return View.PRIVATE
    if "ro" in mount.options and "ro" not in mount.disk:
        return View.READ_ONLY
    return View.WHOLE


def _mount_of(path: str) -> _Mount:
    found = _Mount("/", "/", [], [])
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for mount in map(_parse, mounts):
            # Of two mounts on one point the later one counts.
            inside = os.path.commonpath([path, mount.point]) == mount.point
            if inside and len(mount.point) >= len(found.point):
                found = mount
    return found


def _parse(line: str) -> _Mount:
    before, _, behind = line.partition(" - ")
    _, _, _, root, point, options, *_ = before.split(" ")
    return _Mount(_plain(point), _plain(root), options.split(","), behind.split()[-1].split(","))


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
