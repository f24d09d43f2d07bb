"""Real workers on real rings, without a daemon: the test opens, orders, kills and listens."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from capd.daemon.ringplan import RingPlan
from capd.messages import (
    MAX_MESSAGE,
    Adjust,
    Counters,
    Event,
    Finish,
    Finished,
    Message,
    Plan,
    Report,
    Source,
    Start,
    decode,
    encode,
)
from capd.ring import Geometry, open_ring
from capd.units import SECOND
from tests.support.frames import FIRST_SOURCE_PORT, FLOWS
from tests.support.net import Namespace, inside
from tests.support.wait import wait_for

STATE_PAGE = 4096  # bytes
SHAPE = Geometry(block_size=256 * 1024, blocks=256, retire_ms=20)  # for five seconds
EVERYTHING = struct.pack("=HBBI", 0x06, 0, 0, 262144)  # BPF_RET | BPF_K
# Everything too, and more than half of what a socket may hold of filters on Debian 12.
LONG = struct.pack("=HBBI", 0x28, 0, 0, 12) * 100 + EVERYTHING
SOCKET_ROOM = "net.core.optmem_max=20480"  # bytes


class Flows(NamedTuple):
    """A filter that takes some of a stream's flows: those from `first` to `last`."""

    first: int
    last: int

    @property
    def text(self) -> str:
        """In pcap-filter(7)."""
        return f"udp src portrange {FIRST_SOURCE_PORT + self.first}-{FIRST_SOURCE_PORT + self.last}"

    @property
    def program(self) -> bytes:
        """For the kernel: untagged IPv4 without options is all that a stream has."""
        instructions = (
            (0x28, 0, 0, 34),  # ldh [34]
            (0x35, 0, 2, FIRST_SOURCE_PORT + self.first),  # jge
            (0x25, 1, 0, FIRST_SOURCE_PORT + self.last),  # jgt
            (0x06, 0, 0, 262144),
            (0x06, 0, 0, 0),
        )
        return b"".join(struct.pack("=HBBI", *one) for one in instructions)

    def takes(self, number: int) -> bool:
        """Whether it lets frame `number` of a stream through."""
        return self.first <= number % FLOWS <= self.last


def plan(directory: Path, shape: Geometry = SHAPE, **changes: Any) -> Plan:
    """A plan for v0 that takes everything; `changes` of it or of its source."""
    source = Source("v0", "v0", 1, None, "", 0, 262144, "host", record_direction=False)
    made = Plan(source, shape, str(directory), 2**30, 3600 * SECOND, SECOND)
    return changed(made, **changes)


def changed(made: Plan, **changes: Any) -> Plan:
    """A plan with other values in it or in its source."""
    of_source = {key: value for key, value in changes.items() if key in Source._fields}
    others = {key: value for key, value in changes.items() if key not in of_source}
    return made._replace(source=made.source._replace(**of_source), **others)


def wanted(
    directory: Path, index: int, shape: Geometry = SHAPE, name: str = "v0"
) -> dict[str, RingPlan]:
    """One ring, on the interface of that index and name, which takes everything."""
    made = plan(directory, shape, ring=name, interface=name)
    return {name: RingPlan(made, index, EVERYTHING, promiscuous=False, entry=name)}


class Post:
    """One ring and the workers that drain it, one after the other."""

    def __init__(self, sock: socket.socket, made: Plan, since: int = 0) -> None:
        self.sock = sock
        self.plan = made
        self.since = since
        self.version = ""  # the daemon's
        self.heard: list[Message] = []
        self.memory = os.memfd_create("state")
        os.ftruncate(self.memory, STATE_PAGE)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """A worker, under the plan that holds now."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = (theirs.fileno(), self.sock.fileno(), self.memory)
        argv = [sys.executable, "-I", "-m", "capd.capture", str(theirs.fileno())]
        self._control.send(encode(Start(self.plan, *fds[1:], self.since, self.version)))
        self._process = subprocess.Popen(argv, pass_fds=fds)
        theirs.close()
        self._reader = threading.Thread(target=self._listen, args=(self._control,), daemon=True)
        self._reader.start()

    def send(self, message: Message) -> None:
        """Tell the worker; a dead one does not hear."""
        if self._process is not None:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._control.send(encode(message))

    def adjust(self, **changes: Any) -> None:
        """Another plan."""
        self.plan = changed(self.plan, **changes)
        self.send(Adjust(self.plan))

    def wait_heard(self) -> None:
        """Until the worker has read all that it was told."""
        none = bytes(4)
        wait_for(
            lambda: fcntl.ioctl(self._control, termios.TIOCOUTQ, none) == none, 20, "it to listen"
        )

    @property
    def pid(self) -> int:
        """The worker's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether there is a worker."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Signal the worker."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; it is gone afterwards."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._control.close()
            self._process = None

    def restart(self) -> None:
        """SIGKILL, and another worker."""
        self.kill()
        self.start()

    def finish(self, until: int = 0) -> Finished:
        """Have the ring drained; what the worker says at the end."""
        self.send(Finish(until))
        return self.wait_finished()

    def wait_finished(self) -> Finished:
        """What the worker says at the end."""
        if self._process is not None:
            assert self._process.wait(60) == 0
        self.kill()
        assert self.finished is not None
        return self.finished

    @property
    def finished(self) -> Finished | None:
        """The same, or None."""
        return next((one for one in self.heard if isinstance(one, Finished)), None)

    def wait_written(self, count: int) -> Counters:
        """Until it has told that so many packets are in segments."""

        def told() -> Counters | None:
            reports = (one for one in reversed(self.heard) if isinstance(one, Report))
            newest = next(reports, None)
            return newest.counters if newest and newest.counters.written >= count else None

        found = wait_for(told, 20, f"{count} packets written among {self.heard[-3:]}")
        assert found is not None
        return found

    @property
    def events(self) -> list[Event]:
        """What it said that people should read."""
        return [one for one in self.heard if isinstance(one, Event)]

    def close(self) -> None:
        """No worker, no ring."""
        self.kill()
        self.sock.close()
        os.close(self.memory)

    def _listen(self, control: socket.socket) -> None:
        while True:
            try:
                datagram = control.recv(MAX_MESSAGE)
            except ConnectionResetError:
                return
            if not datagram:
                return
            self.heard.append(decode(datagram))


@contextmanager
def posted(
    net: Namespace, made: Plan, program: bytes = EVERYTHING, since: int = 0
) -> Iterator[Post]:
    """A ring on v0, and no worker yet."""
    with inside(net.name):
        sock = open_ring("v0", made.geometry, program, promiscuous=False)
    post = Post(sock, made, since)
    try:
        yield post
    finally:
        print("the workers said:", *post.heard, sep="\n")  # pytest shows it where a test fails
        post.close()
