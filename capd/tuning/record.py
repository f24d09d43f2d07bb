"""What was there before capd set anything: kept on the disk, so that it can be put back.

A value is remembered before the first write to it, durably, and never replaced by another while
it is remembered: after two changes it is still what the administrator had.  It is forgotten when
it is in force again.

A boot makes every value a default, and interfaces are numbered anew: what was remembered in
another boot means nothing.  So does what belongs to another network namespace, but there it may
still be wanted; nothing is done to it from here.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from capd.errors import StorageError
from capd.tuning.targets import Kind, Target, Value

FORMAT = 1
FILE = "old-values.json"
DEFAULT_DIRECTORY = "/var/lib/capd-tune"

SO_NETNS_COOKIE = 71  # <asm-generic/socket.h>, since Linux 5.14


@dataclass
class Memory:
    """One value as it was, and what capd has made of it."""

    target: Target
    key: str
    old: Value
    ours: Value | None = None  # None: written perhaps, and perhaps not
    asked: Value | None = None  # for what: a driver may have rounded it


class Record:
    """All that is remembered, in the order in which it was changed first."""

    def __init__(self, folder: int, path: str) -> None:
        """`folder`: a descriptor of the directory; -1: only to be read."""
        self._folder = folder
        self._path = path
        self._memories: dict[tuple[tuple[str, str | int], str], Memory] = {}
        self.void = 0  # values of another boot, which are forgotten

    def __iter__(self) -> Iterator[Memory]:
        return iter(tuple(self._memories.values()))

    def get(self, target: Target, key: str) -> Memory | None:
        """What is remembered of this value."""
        return self._memories.get((target.identity, key))

    def remember(self, target: Target, present: Mapping[str, Value]) -> None:
        """Durably, that these values are about to be written; StorageError when that fails.

        What is known of them from before stays as it is.
        """
        for key, value in present.items():
            known = self._memories.get((target.identity, key))
            if known is None:
                self._memories[target.identity, key] = Memory(target, key, value)
            else:
                known.ours = None
        self._store()

    def settle(
        self, target: Target, present: Mapping[str, Value], asked: Mapping[str, Value]
    ) -> None:
        """What a write has come to; a value that is as it was is forgotten.  StorageError."""
        for key, value in present.items():
            known = self._memories.get((target.identity, key))
            if known is not None and known.old == value:
                del self._memories[target.identity, key]
            elif known is not None:
                known.ours, known.asked = value, asked[key]
        self._store()

    def forget(self, target: Target, keys: set[str]) -> None:
        """These are nobody's business any more."""
        for key in keys:
            self._memories.pop((target.identity, key), None)
        self._store()

    def load(self) -> None:
        """StorageError if there is a record that is not to be used here."""
        try:
            with open(self._path, encoding="utf-8") as file:
                document = json.load(file)
            if document["format"] != FORMAT:
                raise ValueError(f"its format is {document['format']}")
            memories = [_memory(fields) for fields in document["values"]]
            epoch = (document["boot"], document["namespace"])
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(
                f"cannot read the old values in {self._path}: {error.strerror}"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"cannot use the old values in {self._path}: {error}; this capd has not written "
                "them.  A boot makes them void; until then, move the file away to go on without"
            ) from error
        boot, namespace = _epoch()
        if epoch[0] != boot:
            self.void = len(memories)
            if self._folder >= 0:
                self._store()
        elif epoch[1] != namespace:
            raise StorageError(
                f"cannot use the old values in {self._path}: they are another network namespace's; "
                "run this there, or set STATE_DIRECTORY to another directory"
            )
        else:
            self._memories = {(one.target.identity, one.key): one for one in memories}

    def _store(self) -> None:
        """Whole or not at all, and for good."""
        boot, namespace = _epoch()
        values = [_fields(memory) for memory in self._memories.values()]
        document = {"format": FORMAT, "boot": boot, "namespace": namespace, "values": values}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        new = f"{FILE}.new"
        try:
            fd = os.open(new, flags, 0o644, dir_fd=self._folder)
            with open(fd, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(fd)
            os.replace(new, FILE, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        except OSError as error:
            raise StorageError(
                f"cannot keep the old values in {self._path}: {error.strerror}; nothing was set "
                "that could not be put back"
            ) from error


def directory() -> str:
    """Where the record is: where systemd says, or where it would be."""
    return os.environ.get("STATE_DIRECTORY") or DEFAULT_DIRECTORY


def peek(path: str) -> Record:
    """What is remembered in this directory, to look at; StorageError."""
    record = Record(-1, f"{path}/{FILE}")
    record.load()
    return record


@contextmanager
def opened(path: str) -> Iterator[Record]:
    """The record in this directory, nobody else's meanwhile; StorageError."""
    try:
        os.makedirs(path, 0o755, exist_ok=True)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(
            f"cannot keep the old values in {path}: {error.strerror}; run this as root"
        ) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        record = Record(folder, f"{path}/{FILE}")
        record.load()
        yield record
    finally:
        os.close(folder)


def _epoch() -> tuple[str, int]:
    """This boot, and this network namespace; 0: the kernel is too old to tell it."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            cookie = sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError:
            return boot, 0
    return boot, int.from_bytes(cookie, "little")


def _fields(memory: Memory) -> dict[str, Any]:
    return {**asdict(memory.target), "key": memory.key, **_made(memory)}


def _made(memory: Memory) -> dict[str, Value | None]:
    return {"old": memory.old, "ours": memory.ours, "asked": memory.asked}


def _memory(fields: dict[str, Any]) -> Memory:
    kinds: dict[str, Kind] = {
        kind: kind for kind in ("sysctl", "ring", "coalesce", "channels", "offloads")
    }
    target = Target(kinds[fields["kind"]], str(fields["name"]), int(fields["index"]))
    return Memory(target, str(fields["key"]), fields["old"], fields["ours"], fields["asked"])
