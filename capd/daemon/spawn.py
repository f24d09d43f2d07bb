"""Starting a worker process.  It imports little: after a restart nothing comes before it.

A worker gets the ring, its memory and a socket inherited, in a process group of its own, and
is told its plan.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NamedTuple

from capd.errors import WorkerError
from capd.messages import Plan, Start, encode

SEND_BUFFER = 1024 * 1024  # bytes of reports that may wait for the daemon


class Spawned(NamedTuple):
    """A worker process, and the daemon's end of the socket to it."""

    pid: int
    control: socket.socket


def spawn(plan: Plan, ring_fd: int, memory_fd: int, since: int) -> Spawned:
    """Start a worker for this ring; WorkerError when it cannot be."""
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    inherited = (theirs.fileno(), ring_fd, memory_fd)
    try:
        control.send(encode(Start(plan, ring_fd, memory_fd, since)))
        for fd in inherited:
            os.set_inheritable(fd, True)  # noqa: FBT003  the library's own signature
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-m", "capd.capture", str(theirs.fileno())],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setpgroup=0,
        )
    except OSError as error:
        control.close()
        raise WorkerError(f"cannot start a worker: {error.strerror}") from error
    finally:
        for fd in (ring_fd, memory_fd):
            os.set_inheritable(fd, False)  # noqa: FBT003
        theirs.close()
    return Spawned(pid, control)
