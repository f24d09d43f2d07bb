"""What is known: no answer is about an interface that is not, or from a disk that is not there."""

from __future__ import annotations

import os
from collections.abc import Iterable

from capd import folders, ledger
from capd.config import Config, Retention
from capd.errors import StorageError
from capd.names import LOST_AND_FOUND, NO_RINGS, interface_of
from capd.status import read
from capd.units import format_count

_MOST_NAMED = 20  # names; more are counted


def unknown(config: Config, interfaces: Iterable[str], status: str) -> dict[str, str]:
    """Those of which there is no folder, no record, no ring and no entry; each in words."""
    asked = list(dict.fromkeys(interfaces))
    if not asked:
        return {}
    names = _known(config, status)
    return {
        name: f"{name}: nothing of that name is known; {_in_words(names)}"
        for name in asked
        if name not in names
    }


def unmounted(*places: Retention | None) -> list[str]:
    """The directories among these of which the disk that is meant is not mounted, in words."""
    return [
        f"{place.directory} is on the root file system, and require_mount is set: "
        "what is on its disk is not seen"
        for place in places
        if place is not None and place.require_mount and _is_on_root(place.directory)
    ]


def _is_on_root(directory: str) -> bool:
    try:
        return folders.is_on_root(directory)
    except OSError:  # whoever looks for segments there tells of it
        return False


def in_directory(directory: str) -> set[str]:
    """Those that have a folder there."""
    try:
        with os.scandir(directory) as entries:
            found = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except OSError:  # whoever looks for segments there tells of it
        return set()
    return {interface_of(name) for name in found - NO_RINGS - {LOST_AND_FOUND}}


def _known(config: Config, status: str) -> set[str]:
    """Of the capture directories, the config and the daemon whose status file is at `status`."""
    names = {entry.name for entry in config.interface if entry.name_kind == "exact"}
    for directory in config.directories:
        names |= in_directory(directory)
    names |= _on_record(config.storage.directory)
    try:
        told = read(status)
    except StorageError:
        return names
    names |= {ring.interface for ring in told.rings}
    return names | told.out.keys() | told.waiting.keys() | told.refused.keys()


def _on_record(directory: str) -> set[str]:
    try:
        with ledger.opened(directory) as folder:
            losses = [] if folder is None else ledger.records(folder).losses
    except StorageError:  # whoever asks for losses tells of it
        return set()
    return {loss.interface for loss in losses} - {""}


def _in_words(names: set[str]) -> str:
    if not names:
        return "there is no other, either"
    listed = sorted(names)
    text = f"there is {', '.join(listed[:_MOST_NAMED])}"
    if len(listed) > _MOST_NAMED:
        text += f" and {format_count(len(listed) - _MOST_NAMED)} more"
    return text
