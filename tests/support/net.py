"""Private networks: a namespace, its veth pairs, and programs inside it."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

_CLONE_NEWNET = 0x40000000
_SILENCE = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()


@contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """The calling thread, and only it, is in the named namespace meanwhile; None: no change."""
    if namespace is None:
        yield
        return
    with _back_home():
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(there, _CLONE_NEWNET))
        finally:
            os.close(there)
        yield


@contextmanager
def apart() -> Iterator[int]:
    """The calling thread is in a new namespace meanwhile; a descriptor of it, the caller's."""
    with _back_home():
        _check(_libc.unshare(_CLONE_NEWNET))
        yield _current()


@contextmanager
def _back_home() -> Iterator[None]:
    home = _current()
    try:
        yield
    finally:
        _check(_libc.setns(home, _CLONE_NEWNET))
        os.close(home)


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, f"network namespace: {os.strerror(error)}")


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Namespace:
    """A network namespace of its own, silent: no IPv6, no ARP, no multicast.

    Owns the namespace, the interfaces in it and every process in it: what still runs at
    the end is killed, then the namespace goes.
    """

    def __init__(self) -> None:
        self.name = f"capd-{os.getpid()}-{next(_serial)}"
        self._programs: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        try:
            self.run(["sysctl", "-q", *_SILENCE])
            _ip("-n", self.name, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every program in the namespace and removes it."""
        while running := {*_ip("netns", "pids", self.name).split()} - {str(os.getpid())}:
            for pid in map(int, running):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for program in self._programs:
            with program:
                program.kill()
        self._programs.clear()
        _ip("netns", "delete", self.name)

    def add_veth(self, name: str, peer: str) -> int:
        """Makes a veth pair, both ends up and silent; the index of the end called `name`."""
        _ip("-n", self.name, "link", "add", name, "type", "veth", "peer", "name", peer)
        for end in (name, peer):
            _ip("-n", self.name, "link", "set", end, "arp", "off", "multicast", "off", "up")
        return self.index(name)

    def delete_link(self, name: str) -> None:
        """Removes an interface, and with it the other end of its pair."""
        _ip("-n", self.name, "link", "delete", name)

    def set_link(self, name: str, *words: str) -> None:
        """`ip link set`, for example `set_link("v0", "down")`."""
        _ip("-n", self.name, "link", "set", name, *words)

    def index(self, name: str) -> int:
        """The number of an interface of this namespace."""
        with inside(self.name):
            return socket.if_nametoindex(name)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in here."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, argv: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a program in here to its end."""
        done = subprocess.run(self.command(argv), capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{list(argv)} ended with {done.returncode}: {done.stderr}")
        return done

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Starts a program in here; `ip netns exec` becomes it, so its pid is the program's."""
        program: subprocess.Popen[str] = subprocess.Popen(self.command(argv), text=True, **options)
        self._programs.append(program)
        return program
