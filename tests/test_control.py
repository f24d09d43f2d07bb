"""Orders over the control socket: who may give them, and what hostile peers can do."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

import pytest

from capd.control import MAX_REQUEST, Answer, ask, encode_request
from capd.daemon.control import MOST_CONNECTIONS, PAUSE, REQUEST_TIMEOUT, ControlServer
from capd.errors import CapdError, StorageError, WorkerError
from tests.support.need import need_root
from tests.support.wait import wait_for

pytestmark = pytest.mark.fault(50)


async def _slow() -> Answer:
    await asyncio.sleep(0.3)
    return Answer(done=True, lines=("one", "two"))


async def _refuse() -> Answer:
    return Answer(done=False, lines=("a reason",))


def serve(path: Path, act: Callable[[], object]) -> object:
    """Run `act` in a thread while a server serves."""

    async def main() -> object:
        async with ControlServer(str(path), {"slow": _slow, "refuse": _refuse}):
            return await asyncio.to_thread(act)

    return asyncio.run(main())


def _raw(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        try:
            sock.sendall(request)
            return b"".join(iter(lambda: sock.recv(4096), b""))
        except (BrokenPipeError, ConnectionResetError):
            return b""


@pytest.mark.fault(51)
def test_orders_and_answers(tmp_path: Path) -> None:
    path = tmp_path / "sock"

    def act() -> None:
        assert ask(str(path), "slow") == Answer(done=True, lines=("one", "two"))
        assert ask(str(path), "refuse") == Answer(done=False, lines=("a reason",))
        answer = ask(str(path), "dance")
        assert answer == Answer(
            done=False, lines=("that is not an order; capd knows: refuse, slow",)
        )
        assert stat.S_IMODE(path.stat().st_mode) == 0o660

    serve(path, act)
    assert not path.exists()


def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    with pytest.raises(StorageError, match="nobody listens"):
        ask(str(path), "slow")
    serve(path, lambda: ask(str(path), "slow"))


@pytest.mark.parametrize(
    "request_",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b'{"order": 5}\n',
        b"\xff\xfe\n",
        b"[" * 4000 + b"\n",
        b"nothing, and then the end",
        b"x" * (MAX_REQUEST * 4),
    ],
    ids=["empty", "no order", "list", "number", "binary", "deep", "no end", "too long"],
)
@pytest.mark.security("socket")
def test_nonsense_is_no_order(tmp_path: Path, request_: bytes) -> None:
    path = tmp_path / "sock"

    def act() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            try:
                sock.sendall(request_)
                sock.shutdown(socket.SHUT_WR)
                return sock.recv(4096)
            except (BrokenPipeError, ConnectionResetError):
                return b""

    answer = serve(path, act)
    assert answer == b"" or b'"done": false' in bytes(answer)  # type: ignore[call-overload]


@pytest.mark.parametrize("text", [b"", b"{}\n", b"[" * 9999, b'{"done": true, "lines": 5}'])
def test_nonsense_is_no_answer(tmp_path: Path, text: bytes) -> None:
    """From whoever listens there."""
    path = tmp_path / "sock"

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            assert connection.recv(MAX_REQUEST).endswith(b"\n")
            connection.sendall(text)

    with socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor(1) as pool:
        server.bind(str(path))
        server.listen()
        answering = pool.submit(answer)
        with pytest.raises(WorkerError, match="without an answer"):
            ask(str(path), "reload", 10)
        answering.result()


@pytest.mark.security("socket")
def test_a_thousand_idle_peers_cost_nothing(tmp_path: Path) -> None:
    """The loop goes on turning, orders are served again as soon as they are gone."""
    path = tmp_path / "sock"
    busy: list[float] = []
    late: list[float] = []

    async def main() -> None:
        async with ControlServer(str(path), {"refuse": _refuse}):
            turning = asyncio.create_task(_turn(busy, late))
            before = len(os.listdir("/proc/self/fd"))
            peers = await asyncio.to_thread(_crowd, path)
            await asyncio.sleep(0.5)
            assert len(os.listdir("/proc/self/fd")) - before <= len(peers) + MOST_CONNECTIONS + 1
            for peer in peers:
                peer.close()
            assert await asyncio.to_thread(_until_served, path)
            turning.cancel()

    asyncio.run(main())
    assert max(busy) < 0.5
    assert max(late) < REQUEST_TIMEOUT
    assert len(busy) > 10


async def _turn(busy: list[float], late: list[float]) -> None:
    """Seconds of a processor that each turn of the loop took, and of the clock."""
    while True:
        start, began = time.thread_time(), time.monotonic()
        await asyncio.sleep(0.01)
        busy.append(time.thread_time() - start)
        late.append(time.monotonic() - began)


def _crowd(path: Path) -> list[socket.socket]:
    peers = []
    for _ in range(400):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(path))
        peers.append(peer)
    for _ in range(600):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
    return peers


def _until_served(path: Path) -> bool:
    def served() -> bool:
        try:
            return not ask(str(path), "refuse", 5).done
        except CapdError:
            return False

    return wait_for(served, 20, "an answer")


@pytest.mark.security("socket")
def test_a_peer_for_whom_no_descriptor_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets its answer once there is one; nobody hears of it a hundred times a second."""
    path = tmp_path / "sock"
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)

    def act() -> Answer:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(encode_request("refuse"))
            time.sleep(1.5 * PAUSE)  # it is tried twice
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
            return Answer(**json.loads(sock.makefile().readline()))

    async def main() -> Answer:
        async with ControlServer(str(path), {"refuse": _refuse}):
            ready = asyncio.to_thread(act)
            with open(os.devnull) as lowest:  # and the next one is for the peer's own end
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno() + 1, most))
            return await ready

    try:
        answer = asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    assert (answer.done, list(answer.lines)) == (False, ["a reason"])
    assert caplog.records == []


def test_a_silent_peer_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "sock"

    def act() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            try:
                return sock.recv(10)
            except ConnectionResetError:
                return b""

    assert serve(path, act) == b""


@pytest.mark.security("socket")
@pytest.mark.parametrize(
    ("groups", "answered"),
    [("--clear-groups", False), ("--groups=1,0", True), ("--groups=1,2", False)],
)
def test_strangers_may_not(tmp_path: Path, groups: str, answered: bool) -> None:
    """Even where the file's mode lets them in; the daemon's group is no stranger."""
    need_root()
    path = tmp_path / "sock"
    above = takewhile(Path(tempfile.gettempdir()).__ne__, tmp_path.parents)
    for folder in (tmp_path, *above):
        folder.chmod(0o755)
    program = (
        "import socket, sys\n"
        "sock = socket.socket(socket.AF_UNIX)\n"
        "sock.connect(sys.argv[1])\n"
        "try:\n"
        "    sock.sendall(sys.argv[2].encode())\n"
        "    print(sock.recv(100))\n"
        "except OSError as error:\n"
        "    print(b'')\n"
    )

    def act() -> str:
        path.chmod(0o666)
        argv = ["setpriv", "--reuid=65534", "--regid=65534", groups]
        argv += ["/usr/bin/python3", "-c", program, str(path)]
        run = subprocess.run(
            [*argv, encode_request("refuse").decode()],
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout

    assert (serve(path, act) != "b''\n") == answered


def test_a_daemon_that_dies_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        with pytest.raises(WorkerError, match=r"did not answer within 0\.2 s"):
            ask(str(path), "slow", 0.2)
    with pytest.raises(StorageError, match="capd does not run"):
        ask(str(tmp_path / "none"), "slow")
    with pytest.raises(WorkerError, match="x: AF_UNIX path too long"):
        ask(str(tmp_path / ("x" * 200)), "slow")
