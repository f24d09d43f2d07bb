"""Rings that outlived the daemon before: found in what systemd kept, with workers on their way.

It runs before everything else and imports little: until a worker drains a ring, the ring
fills.  So it tells nothing by itself; whoever makes recordings of what it found does.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

from capd import ring
from capd.daemon import keepsake, notify
from capd.daemon.keepsake import FORMAT, Keepsake, stored_names
from capd.daemon.spawn import Spawned, spawn
from capd.errors import RingError, WorkerError

_NAME = re.compile(r"(?:ring|memory)/v\d+/(\d+)(?:/.*)?")

Kept = dict[str, list[int]]  # descriptors by the names under which systemd kept them


class Found(NamedTuple):
    """A ring to go on with."""

    kept: Keepsake
    sock: socket.socket
    memory: int
    worker: Spawned | None  # on its way already


class Adopted(NamedTuple):
    """All that systemd kept."""

    found: list[Found]
    lost: list[str]  # why the other rings cannot be gone on with


def adopt() -> Adopted:
    """Take over what systemd kept, and start workers; what nobody can use is let go."""
    kept = notify.inherited()
    numbers = {match[1] for match in map(_NAME.fullmatch, kept) if match}
    found, lost = [], []
    for number in sorted(numbers, key=int):
        names = {name: kept.pop(name) for name in list(kept) if name.split("/")[2:3] == [number]}
        try:
            found.append(_adopt(names))
        except (RingError, OSError) as error:
            lost.append(f"a ring is let go with what was in it: {error}")
            _let_go(names)
    _let_go(kept)
    if any(one.kept.ending for one in found):  # then the order of the workers matters
        return Adopted(found, lost)
    return Adopted([one._replace(worker=_spawn(one)) for one in found], lost)


def _spawn(found: Found) -> Spawned | None:
    kept = found.kept
    try:
        return spawn(kept.wanted.plan, found.sock.fileno(), found.memory, kept.since)
    except WorkerError:
        return None  # tried again, and told, when there is a recording


def _adopt(names: Kept) -> Found:
    """One ring and its memory."""
    ring_name, ring_fd = _only(names, "ring")
    memory_name, memory = _only(names, "memory")
    kept = keepsake.read(memory)
    sock = socket.socket(fileno=os.dup(ring_fd))
    try:
        number = ring.cookie(sock)
        if (ring_name, memory_name) != stored_names(number, kept.wanted.plan.geometry):
            raise RingError(f"{ring_name} and {memory_name} do not belong together")
        if not kept.ending:  # a daemon that died in the middle of a change had attached another
            ring.attach_filter(sock, kept.wanted.program)
    except (RingError, OSError):
        sock.close()
        raise
    os.close(ring_fd)
    return Found(kept, sock, memory, None)


def _only(names: Kept, kind: str) -> tuple[str, int]:
    """The name and descriptor of this kind; RingError unless there is one, of this format."""
    found = list(_all(names, kind))
    if len(found) != 1:
        raise RingError(f"there are {len(found)} descriptors of its {kind}")
    name, fd = found[0]
    if not name.startswith(f"{kind}/v{FORMAT}/"):
        raise RingError(f"{name} was kept by another version of capd")
    return name, fd


def _all(names: Kept, kind: str) -> Iterator[tuple[str, int]]:
    for name, fds in names.items():
        if name.startswith(f"{kind}/"):
            yield from ((name, fd) for fd in fds)


def _let_go(names: Kept) -> None:
    """Close what nobody wants, here and in systemd's store."""
    for name, fds in names.items():
        notify.remove(name)
        for fd in fds:
            os.close(fd)
