"""Rings that outlived the daemon before: which of those that systemd kept can be gone on with.

It runs before everything else and imports little: until a worker drains a ring, the ring
fills.  So it tells nothing by itself; whoever makes recordings of what it found does.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import NamedTuple

from capd import ring
from capd.daemon import keepsake, notify
from capd.daemon.headstart import HeadStart, Kept
from capd.daemon.keepsake import FORMAT, Keepsake, stored_names
from capd.daemon.spawn import Spawned
from capd.errors import RingError


class Found(NamedTuple):
    """A ring to go on with."""

    kept: Keepsake
    sock: socket.socket
    memory: int
    worker: Spawned | None  # that has begun already


class Adopted(NamedTuple):
    """All that systemd kept."""

    found: list[Found]
    lost: list[str]  # why the other rings cannot be gone on with


def adopt(head_start: HeadStart | None) -> Adopted:
    """Have workers go on with the rings that can be; what nobody can use is let go."""
    head_start = head_start or HeadStart({}, {})
    found, lost = [], []
    for number, kept in head_start.rings.items():
        try:
            if number:
                found.append(_adopt(kept, head_start.workers.get(number)))
                continue
        except (RingError, OSError) as error:
            lost.append(f"a ring is let go with what was in it: {error}")
        _let_go(kept)
    found = _settled(found)
    if any(one.kept.ending for one in found):  # then the order of the workers matters
        found = [one._replace(worker=None) for one in found]
    begun = {one.worker for one in found}
    for worker in head_start.workers.values():
        if worker not in begun:
            worker.discard()
    for one in found:
        if one.worker is not None:
            one.worker.begin(one.kept.wanted.plan, one.kept.since)
    return Adopted(found, lost)


def _adopt(names: Kept, worker: Spawned | None) -> Found:
    """One ring and its memory."""
    ring_name, ring_fd = _only(names, "ring")
    memory_name, memory = _only(names, "memory")
    kept = keepsake.read(memory)
    sock = socket.socket(fileno=os.dup(ring_fd))
    try:
        number = ring.cookie(sock)
        if (ring_name, memory_name) != stored_names(number, kept.wanted.plan.geometry):
            raise RingError(f"{ring_name} and {memory_name} do not belong together")
        if not kept.ending:
            _attach(sock, kept.wanted.program)
    except (RingError, OSError):
        sock.close()
        raise
    os.close(ring_fd)
    return Found(kept, sock, memory, worker)


def _attach(sock: socket.socket, program: bytes) -> None:
    """Have the ring's filter in force: a daemon that died in a change had attached another.

    Where the socket has no room for both beside each other, there was none for a change either.
    """
    try:
        ring.attach_filter(sock, program)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise


def _settled(found: list[Found]) -> list[Found]:
    """What a daemon left that died before it had told a ring that another one follows it.

    As long as the first still captures, it has all that the other one has.
    """
    settled: list[Found] = []
    for one in sorted(found, key=lambda each: each.kept.born):
        at = next((at for at, each in enumerate(settled) if _competes(each, one)), None)
        if at is None:
            settled.append(one)
        elif settled[at].sock.getsockname()[0]:  # it is bound to its interface
            _release(one)
        else:
            kept = settled[at].kept._replace(ending=True)
            keepsake.write(settled[at].memory, kept)
            settled[at] = settled[at]._replace(kept=kept)
            settled.append(one)
    return settled


def _competes(first: Found, other: Found) -> bool:
    if first.kept.ending or other.kept.ending:
        return False
    wanted, others = first.kept.wanted, other.kept.wanted
    return wanted.name == others.name or wanted.link_index == others.link_index


def _release(one: Found) -> None:
    for name in stored_names(ring.cookie(one.sock), one.kept.wanted.plan.geometry):
        notify.remove(name)
    one.sock.close()
    os.close(one.memory)


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
