"""Starting a worker process.

A worker gets the ring, its memory and a socket inherited, in a process group of its own; then
it waits to be told its plan.  After a restart nothing comes before this, and each millisecond
counts: hence the imports of next to nothing, where `socket` and `typing` alone take 10 ms.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SO_SNDBUF, SOCK_SEQPACKET, SOL_SOCKET, socketpair

from capd import __version__
from capd.errors import WorkerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from capd.messages import Plan

SEND_BUFFER = 1024 * 1024  # bytes of reports that may wait for the daemon


class Spawned:
    """A worker process that waits for its plan.

    control     file descriptor of the daemon's end of the socket to it
    ring_fd     as the worker numbers it, like `memory_fd`
    """

    def __init__(self, pid: int, control: int, ring_fd: int, memory_fd: int) -> None:
        self.pid = pid
        self.control = control
        self._fds = ring_fd, memory_fd

    def begin(self, plan: Plan, since: int) -> None:
        """Tell it the plan; one that is dead does not hear, and its end tells the rest."""
        from capd.messages import Start, encode  # noqa: PLC0415  while the worker starts

        try:
            os.write(self.control, encode(Start(plan, *self._fds, since, __version__)))
        except OSError:
            return

    def discard(self) -> None:
        """End it before it has been told anything."""
        os.close(self.control)
        os.waitpid(self.pid, 0)


def spawn(ring_fd: int, memory_fd: int) -> Spawned:
    """Start a worker for this ring; WorkerError when it cannot be."""
    pid, control = start("capd.capture", ring_fd, memory_fd)
    return Spawned(pid, control, ring_fd, memory_fd)


def start(module: str, *inherited: int) -> tuple[int, int]:
    """Start a process of capd's that gets these descriptors and a socket to the daemon.

    Gives its process id and the daemon's end of the socket; WorkerError when it cannot be.
    """
    try:
        control, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    except OSError as error:
        raise _cannot(module, error) from error
    try:
        theirs.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER)
        for fd in (theirs.fileno(), *inherited):
            os.set_inheritable(fd, True)  # noqa: FBT003  the library's own signature
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-m", module, str(theirs.fileno())],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setpgroup=0,
        )
    except OSError as error:
        control.close()
        raise _cannot(module, error) from error
    finally:
        for fd in inherited:
            os.set_inheritable(fd, False)  # noqa: FBT003
        theirs.close()
    return pid, control.detach()


def _cannot(module: str, error: OSError) -> WorkerError:
    return WorkerError(f"cannot start {module}: {error.strerror}")
