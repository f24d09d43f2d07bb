"""Talking to the service manager, with a real socket in its place."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capd.daemon import notify
from capd.daemon.ringplan import RingPlan
from capd.daemon.rings import Rings
from tests.support.net import Namespace, inside
from tests.support.workers import SHAPE, wanted

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 10.0  # seconds


class Manager:
    """What is at the other end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(TIMEOUT)
        self._socket.bind(address)

    def hear(self) -> tuple[list[str], list[int]]:
        """The next message: its lines, and descriptors that the caller closes."""
        text, fds, _, _ = socket.recv_fds(self._socket, 65536, 8)
        return text.decode().splitlines(), fds

    def heard(self) -> int:
        """How many messages wait; they are gone then."""
        self._socket.setblocking(False)
        count = 0
        try:
            while self._socket.recv(65536):
                count += 1
        except BlockingIOError:
            return count
        finally:
            self._socket.settimeout(TIMEOUT)
        return count

    def close(self) -> None:
        """Leave."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    """One that listens, and is told of in the environment."""
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@capd-test-{os.getpid()}"
    monkeypatch.setattr(notify, "_kept", [])
    found = Manager(address.replace("@", "\0", 1))
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    yield found
    found.close()


WORDS: list[tuple[Callable[[], object], list[str]]] = [
    (notify.ready, ["READY=1"]),
    (notify.stopping, ["STOPPING=1"]),
    (notify.watchdog, ["WATCHDOG=1"]),
    (lambda: notify.extend_timeout(1.5), ["EXTEND_TIMEOUT_USEC=1500000"]),
    (lambda: notify.status("v0: 5 lost"), ["STATUS=v0: 5 lost"]),
    (lambda: notify.status("bad\nSTOPPING=1"), ["STATUS=bad STOPPING=1"]),
    (lambda: notify.status("waiting for \udce9"), ["STATUS=waiting for \\udce9"]),
    (lambda: notify.remove("ring/v1/5"), ["FDSTOREREMOVE=1", "FDNAME=ring/v1/5"]),
]


def test_no_descriptor_is_left(manager: Manager) -> None:
    """Nothing is said, and nothing fails."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as lowest:
        free = lowest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        notify.ready()
        assert not notify.store("ring/v1/5", 0)
        assert not notify.barrier()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert manager.heard() == 0


def test_words(manager: Manager) -> None:
    """As sd_notify(3) has them; a text cannot say more than its one thing."""
    for say, lines in WORDS:
        say()
        assert manager.hear() == (lines, [])


def test_reloading_has_the_time(manager: Manager) -> None:
    """By which systemd knows which READY=1 belongs to it."""
    before = time.monotonic_ns()
    notify.reloading()
    (word, stamp), _ = manager.hear()
    assert word == "RELOADING=1"
    name, microseconds = stamp.split("=")
    assert name == "MONOTONIC_USEC"
    assert before // 1000 <= int(microseconds) <= time.monotonic_ns() // 1000


def test_descriptor_is_stored(manager: Manager, tmp_path: Path) -> None:
    """The very same file, and the manager is not to poll it."""
    with open(tmp_path / "file", "w+") as file:
        assert notify.store("memory/v1/7", file.fileno())
        lines, (fd,) = manager.hear()
        assert lines == ["FDSTORE=1", "FDPOLL=0", "FDNAME=memory/v1/7"]
        assert os.path.sameopenfile(fd, file.fileno())
        os.close(fd)


@pytest.mark.parametrize("listens", [True, False])
def test_barrier_waits_for_the_manager(manager: Manager, listens: bool) -> None:
    """Until it has closed the descriptor that came with it, and only so long."""
    came = threading.Event()

    def serve() -> None:
        lines, fds = manager.hear()
        assert lines == ["BARRIER=1"]
        came.set()
        if listens:
            os.close(fds[0])
        else:
            held.extend(fds)

    held: list[int] = []
    server = threading.Thread(target=serve)
    server.start()
    assert notify.barrier(TIMEOUT if listens else 0.1) is listens
    server.join()
    assert came.is_set()
    for fd in held:
        os.close(fd)


def test_manager_that_is_stuck_holds_nobody_up(manager: Manager) -> None:
    """Neither words nor descriptors wait for it; who has to know learns of it."""
    said = threading.Event()

    def talk() -> None:
        for _ in range(2000):
            notify.watchdog()
        said.set()

    threading.Thread(target=talk, daemon=True).start()
    assert said.wait(TIMEOUT)
    assert not notify.store("ring/v1/5", 0)
    assert not notify.remove("ring/v1/5")
    assert not notify.barrier(0.1)
    assert 0 < manager.heard() < 2000
    assert notify.store("ring/v1/5", 0)
    _, (fd,) = manager.hear()
    os.close(fd)
    for heard in (1, 0):  # it is said again, once
        notify.catch_up()
        assert manager.heard() == heard


def test_manager_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor is a path that cannot be one."""
    for address in (str(tmp_path / "nobody"), "/" + "x" * 200, "vsock:2:1234"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        for say, _ in WORDS:
            say()
        assert not notify.barrier(0.1)


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nobody to wait for either."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    for say, _ in WORDS:
        say()
    assert notify.store("x", 0)
    assert notify.barrier(0.0)


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        (None, None, None),
        ("30000000", None, 30.0),
        ("500000", "own", 0.5),
        ("30000000", "1", None),
        ("0", "own", None),
        ("soon", "own", None),
    ],
)
def test_watchdog_interval(
    monkeypatch: pytest.MonkeyPatch,
    microseconds: str | None,
    pid: str | None,
    seconds: float | None,
) -> None:
    """Only what is meant for this process."""
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value.replace("own", str(os.getpid())))
    assert notify.watchdog_interval() == seconds


CHILD = """
import fcntl, os
from capd.daemon.inheritance import inherited
kept = inherited()
left = [name for name in os.environ if name.startswith("LISTEN_")]
texts = {name: [os.pread(fd, 9, 0).decode() for fd in fds] for name, fds in kept.items()}
closed = all(fcntl.fcntl(fd, fcntl.F_GETFD) for fds in kept.values() for fd in fds)
print([texts, closed, left, inherited()])
"""


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ("LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=a:b:a", {"a": ["3", "5"], "b": ["4"]}),
        ("LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=stored:a", {"stored": ["3"], "a": ["4"]}),
        ("LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_PIDFDID=7", {"unknown": ["3", "4"]}),
        ("LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a", {"a": ["3"], "unknown": ["4"]}),
        ("LISTEN_PID=$$ LISTEN_FDS=4 LISTEN_FDNAMES=a:b:c:d", {"a": ["3"], "b": ["4"], "c": ["5"]}),
        ("LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b", {"a": ["3"]}),
        ("LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=a", {}),
        ("LISTEN_PID=$$ LISTEN_FDS=0", {}),
        ("LISTEN_PID=$$ LISTEN_FDS=some", {}),
        ("", {}),
    ],
)
def test_inherited(environment: str, found: dict[str, list[str]], tmp_path: Path) -> None:
    """By name, closed on exec; and no child of ours takes them for its own."""
    redirections = []
    for fd in ("3", "4", "5"):
        (tmp_path / fd).write_text(fd)
        redirections.append(f"{fd}<{tmp_path / fd}")
    line = f'{environment} exec "$0" -c "$1" {" ".join(redirections)}'
    run = subprocess.run(
        ["sh", "-c", line, sys.executable, CHILD],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == f"{[found, True, [], {}]}\n", run.stderr


@pytest.mark.parametrize("manager", ["path"], indirect=True)  # which other networks have, too
def test_each_ring_is_a_sign_of_life(manager: Manager, net: Namespace, tmp_path: Path) -> None:
    """Or a watchdog would count the seconds that all of them take to be opened."""
    plans: dict[str, RingPlan] = {}
    for name in ("v0", "w0", "x0"):
        plans |= wanted(tmp_path, net.add_veth(name, f"{name}p"), SHAPE, name)

    async def run() -> list[str]:
        rings = Rings()
        await rings.apply(plans, {})
        heard = [manager.hear() for _ in range(9)]
        for _, fds in heard:
            for fd in fds:
                os.close(fd)
        rings.finish()
        await rings.ended()
        return [lines[0] for lines, _ in heard]

    with inside(net.name):
        assert asyncio.run(run()) == ["FDSTORE=1", "FDSTORE=1", "WATCHDOG=1"] * 3
