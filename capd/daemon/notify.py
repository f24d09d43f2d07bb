"""Talking to the service manager: readiness, signs of life, and the store of descriptors.

sd_notify(3) over its socket, in a few lines of our own: what a restarted daemon does before
its first worker runs must not wait 6 ms for systemd-python, which also waits for a manager
that does not listen.  Nothing here fails or blocks the caller, but for `barrier`; without a
manager everything is a no-op.
"""

from __future__ import annotations

import array
import os
import select
import socket
import time
from collections.abc import Sequence

_kept: list[str] = []  # what the manager has not heard that it may let go


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
    _send(f"STATUS={' '.join(text.split())}")  # a second line would be another assignment


def watchdog() -> None:
    """The event loop turns."""
    _send("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Seconds within which the manager wants to hear `watchdog`; None if it does not listen."""
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not text.isdecimal() or pid not in (None, str(os.getpid())):
        return None
    return int(text) / 1e6 or None


def extend_timeout(seconds: float) -> None:
    """What goes on takes up to this long yet."""
    _send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")


def store(name: str, fd: int) -> bool:
    """Have the manager keep a descriptor for the next daemon; False when it did not hear.

    It must not poll it: it would let go a ring whose link is down (FDPOLL=0).  What it does
    with a descriptor too many, or a name that is none, it tells the journal only.
    """
    return _send(f"FDSTORE=1\nFDPOLL=0\nFDNAME={name}", [fd])


def remove(name: str) -> bool:
    """Have the manager let go what it keeps under this name; False: `catch_up` says it again."""
    heard = _send(f"FDSTOREREMOVE=1\nFDNAME={name}")
    if not heard:
        _kept.append(name)
    return heard


def catch_up() -> None:
    """Say again what may be let go, as far as the manager did not hear it."""
    names = _kept.copy()
    _kept.clear()
    for name in names:
        remove(name)


def barrier(timeout: float = 1.0) -> bool:
    """Wait until the manager has done all that it was told; False when it takes too long."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return True
    deadline = time.monotonic() + timeout
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
    except OSError:  # no descriptor is left
        return False
    try:
        sent = _send("BARRIER=1", [writer], timeout=timeout)
    finally:
        os.close(writer)
    poll = select.poll()
    poll.register(reader, 0)  # POLLHUP comes unasked, when the manager has closed its copy
    try:
        return sent and bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(reader)


def _send(state: str, fds: Sequence[int] = (), timeout: float = 0.0) -> bool:
    """Whether the manager has it, or is not there to have it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return True
    if address.startswith("@"):
        address = "\0" + address[1:]
    text = state.encode(errors="backslashreplace")
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.sendmsg([text], passed, 0, address)
    except OSError:  # a manager that does not listen is its own trouble; or no descriptor is left
        return False
    return True
