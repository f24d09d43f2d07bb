"""Processes that cannot be started: that is told once, and tried until they can be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from capd.messages import MAX_MESSAGE, Finish, Finished, Start, decode, encode
from tests.support.disk import Faults
from tests.support.frames import IMIX, Stream
from tests.support.ledger import assert_all_clean, check_ledger
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, archive_of, segments, workers_of, write_config
from tests.support.wait import wait_for
from tests.support.workers import plan, posted
from tests.support.xdp import FrameSource

STREAM = Stream(IMIX)
COUNT = 20_000  # frames
CAPTURE = 'ring_size = "256MiB"'
# Calls that fail, and what is said of it.
CALLS = [
    ("socketpair", "cannot start capd.{}: Too many open files"),
    ("vfork,clone,clone3", "cannot start capd.{}: Too many open files"),
    ("pidfd_open", "cannot watch over a process: Too many open files"),
]


@contextmanager
def recording(net: Namespace, folder: Path) -> Iterator[tuple[Recorder, FrameSource]]:
    """A daemon that has looked at everything once, and what sends to it."""
    need("strace")
    index = net.add_veth("v0", "v1")
    config = write_config(folder / "capd.toml", folder, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        wait_for(lambda: capd.status().nics, 20, "the daemon's first look at everything")
        yield capd, source


@pytest.mark.fault(39)
@pytest.mark.parametrize(("calls", "why"), CALLS, ids=["socket", "process", "pidfd"])
def test_a_worker_that_cannot_be_replaced(
    net: Namespace, tmp_path: Path, calls: str, why: str
) -> None:
    """The ring holds what comes until there is one again; nothing is lost."""
    with recording(net, tmp_path) as (capd, source):
        worker = capd.worker()
        with Faults(capd.pid, calls, "error=EMFILE", tmp_path / "log", only=capd.pid) as faults:
            os.kill(worker, signal.SIGKILL)
            source.inject(COUNT)
            wait_for(lambda: len(faults.injected) > 4, 20, "further tries")
            # One that nobody can watch over is there for the moment that it takes to end it.
            wait_for(lambda: not workers_of(capd.pid), 20, "no worker left")
        wait_for(capd.workers, 20, "another worker")
        source.inject(COUNT)
        assert capd.stop() == 0
    assert told(capd, f"v0: {why.format('capture')}") == 1
    assert check_ledger(capd, tmp_path, "v0", STREAM, 2 * COUNT).lost == 0
    assert_all_clean(segments(tmp_path, "v0"))


def test_a_worker_waits_for_its_plan(net: Namespace, tmp_path: Path) -> None:
    """As long as its daemon lives: here, every wait that has a limit comes to it at once."""
    need("strace")
    net.add_veth("v0", "v1")
    impatient = ("strace", "-f", "-o", str(tmp_path / "log"), "-e", "inject=poll:retval=0:when=1")
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with posted(net, plan(tmp_path)) as post, control:
        fds = (theirs.fileno(), post.sock.fileno(), post.memory)
        argv = [*impatient, sys.executable, "-I", "-m", "capd.capture", str(fds[0])]
        with theirs:
            worker = subprocess.Popen(argv, pass_fds=fds)
        control.send(encode(Start(post.plan, *fds[1:])))
        control.send(encode(Finish()))
        last = b""
        while datagram := control.recv(MAX_MESSAGE):
            last = datagram
        assert worker.wait(20) == 0
    assert isinstance(decode(last), Finished)


def test_a_ring_that_cannot_be_drained(net: Namespace, tmp_path: Path) -> None:
    """Since each worker dies of it: what was in it is on record as lost."""
    with recording(net, tmp_path) as (capd, source):
        with Faults(capd.pid, "prctl", "error=EPERM", tmp_path / "log"):
            os.kill(capd.worker(), signal.SIGKILL)
            capd.wait_line("v0: its worker died .status 1")
            source.inject(COUNT)
            assert capd.stop() == 1
        assert told(capd, "v0: its ring could not be drained")
        words = ("losses", "--config", str(tmp_path / "capd.toml"), "--json", "--since", "10min")
        (loss,) = json.loads(capd.order(*words).stdout)["losses"]
    assert (loss["interface"], loss["stage"], loss["packets"]) == ("v0", "capd", None)
    assert loss["cause"] == "its ring could not be drained"


@pytest.mark.fault(39)
def test_a_worker_that_cannot_be_replaced_at_the_end(net: Namespace, tmp_path: Path) -> None:
    """The ring is drained once there is one again, and not given up meanwhile."""
    calls, _ = CALLS[0]
    with recording(net, tmp_path) as (capd, source):
        worker = capd.worker()
        with Faults(capd.pid, calls, "error=EMFILE", tmp_path / "log", only=capd.pid) as faults:
            os.kill(worker, signal.SIGKILL)
            source.inject(COUNT)
            capd.signal(signal.SIGINT)
            capd.wait_line("cannot start capd.capture")
            wait_for(lambda: len(faults.injected) > 5, 20, "further tries")
        assert capd.wait() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, COUNT).lost == 0


@pytest.mark.fault(39)
@pytest.mark.parametrize(("calls", "why"), CALLS, ids=["socket", "process", "pidfd"])
def test_an_archive_process_that_cannot_be_replaced(
    net: Namespace, tmp_path: Path, calls: str, why: str
) -> None:
    """Capture goes on without, and then there is one again."""
    with recording(net, tmp_path) as (capd, source):
        before = wait_for(lambda: archive_of(capd.pid), 20, "the archive process")
        with Faults(capd.pid, calls, "error=EMFILE", tmp_path / "log", only=capd.pid) as faults:
            os.kill(before, signal.SIGKILL)
            source.inject(COUNT)
            wait_for(lambda: len(faults.injected) > 2, 20, "further tries")
            wait_for(lambda: archive_of(capd.pid) == 0, 20, "no archive process left")
        assert wait_for(lambda: archive_of(capd.pid), 20, "another") != before
        assert capd.stop() == 0
    assert told(capd, why.format("archive")) == 1
    assert check_ledger(capd, tmp_path, "v0", STREAM, COUNT).lost == 0


def told(capd: Recorder, text: str) -> int:
    """How many lines say so."""
    return sum(text in line for line in capd.lines)


@pytest.mark.parametrize("calls", ["vfork,clone,clone3", "clone,clone3"], ids=["process", "thread"])
def test_metrics_that_cannot_be_served_again(net: Namespace, tmp_path: Path, calls: str) -> None:
    """The daemon lives on, whether it has no process or no thread that would wait for its end."""
    need("strace")
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    config.write_text(f'{config.read_text()}\n[metrics]\nlisten = "127.0.0.1:9099"\n')
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        wait_for(lambda: capd.status().nics, 20, "the daemon's first look at everything")
        before = wait_for(lambda: metrics_of(capd.pid), 20, "capd metrics")
        with Faults(capd.pid, calls, "error=EAGAIN", tmp_path / "log", only=capd.pid) as faults:
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: len(faults.injected) > 1, 20, "another try")
        wait_for(lambda: metrics_of(capd.pid) not in (0, before), 20, "another")
        assert capd.stop() == 0
    assert told(capd, "cannot start capd metrics") == 1


def metrics_of(daemon: int) -> int:
    """The process id of a daemon's `capd metrics`; 0 if there is none."""
    for child in Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has gone meanwhile
            if b"metrics" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
    return 0
