"""A copy of every finished segment before retention takes it, and in which order it takes them.

A copy and not a link: what has another link is not capd's to delete.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from capd.names import HANDED_FILE, is_folder, parse_segment
from tests.soaking.accounts import Key

_EVERY = 0.1  # seconds between two looks
_OLD = 50  # looks

Seen = dict[Key, tuple[int, Path]]
"""Of each segment that is there: when it begins (ns since 1970), and one of its files."""


class Copy(NamedTuple):
    """A file as it was under this name."""

    key: Key
    path: Path
    name: str


class Copies:
    """Of two directories; `run` until `end`; the caller empties `found` and `disorder`."""

    def __init__(self, directories: list[Path], folder: Path) -> None:
        self.found: list[Copy] = []
        self.disorder: list[str] = []
        self.gone_at: dict[Key, float] = {}  # by the monotonic clock: those that were deleted
        self.keys: set[Key] = set()
        self._directories = directories
        self._folder = folder
        self._names: set[str] = set()
        self._before: list[Seen] = [{} for _ in directories]
        self._gone: list[Seen] = [{} for _ in directories]
        self._handed: deque[dict[str, Any]] = deque(maxlen=_OLD)
        self._over = threading.Event()

    def run(self) -> None:
        """Look, again and again."""
        while not self._over.wait(_EVERY):
            self.look()

    def end(self) -> None:
        """No more looks."""
        self._over.set()

    def look(self) -> None:
        """Copy what is new, and see what is gone."""
        now = []
        for directory in self._directories:
            seen: Seen = {}
            for path in _finished(directory):
                name = parse_segment(path.name)
                assert name is not None
                seen[name.ring, name.seq] = name.stamp, path
                self._take((name.ring, name.seq), path)
            now.append(seen)
        with suppress(FileNotFoundError):
            self._handed.append(
                json.loads((self._directories[0] / HANDED_FILE).read_text())["rings"]
            )
        for number, seen in enumerate(now):
            self._compare(number, seen, now[number + 1 :])
        self._before = now

    def _take(self, key: Key, path: Path) -> None:
        if path.name in self._names or (len(self.found) > 200 and key in self.keys):
            return  # the reader is far behind: of what is known under one name it reads no other
        copy = self._folder / path.name
        try:
            shutil.copyfile(path, copy)
        except FileNotFoundError:  # it has another name by now
            copy.unlink(missing_ok=True)
            return
        self._names.add(path.name)
        self.keys.add(key)
        self.found.append(Copy(key, copy, path.name))

    def _compare(self, number: int, seen: Seen, later: list[Seen]) -> None:
        """What was missed at the look before went before what this look still shows."""
        for key, (stamp, path) in self._gone[number].items():
            for other, (began, _) in seen.items():
                newest = max(seq for ring, seq in seen if ring == other[0])
                older = other[1] < key[1] if other[0] == key[0] else began < stamp
                kept = other[1] == newest or not self._is_done(other)
                if older and not kept and other in self._before[number]:
                    self.disorder.append(f"{path} was deleted before {seen[other][1]}")
                    break
        gone = {key: at for key, at in self._before[number].items() if key not in seen}
        moved = {key for place in later for key in place}
        self._gone[number] = {key: at for key, at in gone.items() if key not in moved}
        self.gone_at |= dict.fromkeys(self._gone[number], time.monotonic())

    def _is_done(self, key: Key) -> bool:
        """Whether capd knew for some time that the hook was done: until then it keeps a segment."""
        ranges = self._handed[0].get(key[0], ()) if len(self._handed) == _OLD else ()
        return any(first <= key[1] <= last for first, last in ranges)


def _finished(directory: Path) -> Iterator[Path]:
    for ring in _entries(directory):
        for day in _entries(Path(ring.path)):
            if is_folder(day.name):
                for file in _entries(Path(day.path)):
                    if parse_segment(file.name):
                        yield Path(file.path)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        return list(entries)
    return []
