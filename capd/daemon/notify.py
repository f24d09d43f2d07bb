"""Talking to the service manager: readiness, signs of life, and the store of descriptors.

sd_notify(3) over its socket, in a few lines of our own: what a restarted daemon does before
its first worker runs must not wait for a library.  Nothing here fails or blocks the caller,
but for `barrier`; without a manager everything is a no-op.
"""

from __future__ import annotations

import array
import os
import select
import socket
import time
from collections.abc import Sequence

FIRST = 3  # SD_LISTEN_FDS_START


def ready() -> None:
    """The daemon captures; also the end of a reload."""
    _send("READY=1")


def reloading() -> None:
    """A reload has begun."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """The daemon ends."""
    _send("STOPPING=1")


def status(text: str) -> None:
    """The line that `systemctl status` shows."""
    _send(f"STATUS={text}")


def watchdog() -> None:
    """The event loop turns."""
    _send("WATCHDOG=1")


def extend_timeout(seconds: float) -> None:
    """What goes on takes up to this long yet."""
    _send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")


def store(name: str, fd: int) -> None:
    """Have the manager keep a descriptor for the next daemon.

    It must not poll it: a ring whose link is down would be let go (systemd.md of the facts:
    FDPOLL=0).
    """
    _send(f"FDSTORE=1\nFDPOLL=0\nFDNAME={name}", [fd])


def remove(name: str) -> None:
    """Have the manager let go what it keeps under this name."""
    _send(f"FDSTOREREMOVE=1\nFDNAME={name}")


def barrier(timeout: float = 1.0) -> bool:
    """Wait until the manager has done all that it was told; False when it takes too long."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return True
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        _send("BARRIER=1", [writer])
    finally:
        os.close(writer)
    poll = select.poll()
    poll.register(reader, 0)  # POLLHUP comes unasked, when the manager has closed its copy
    try:
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(reader)


def inherited() -> dict[str, list[int]]:
    """The descriptors that the manager kept, by name; the environment forgets them."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    kept: dict[str, list[int]] = {}
    for place in range(int(count)):
        fd = FIRST + place
        os.set_inheritable(fd, False)  # noqa: FBT003  the library's own signature
        kept.setdefault(names[place] if place < len(names) else "unknown", []).append(fd)
    return kept


def _send(state: str, fds: Sequence[int] = ()) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendmsg([state.encode()], passed, socket.MSG_DONTWAIT, address)
        except OSError:  # a manager that does not listen is its own trouble
            return
