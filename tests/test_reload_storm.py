"""Orders without a pause, good and bad, from one or from a thousand: no packet is lost for it."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from capd.daemon.control import MOST_CONNECTIONS
from tests.support import judge
from tests.support.ledger import assert_all_clean
from tests.support.load import STREAM, steady
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for

pytestmark = pytest.mark.alone

CAPTURE = 'ring_size = "64MiB"\nflush_interval = "200ms"\nrotate_interval = "1s"\n'
SIZES = ("1 GiB", "2 GiB")  # no segment ends for it
WARM, LONG = 1.5, 3.0  # s of reloads before the first look, and until the second
PAUSE = 0.01  # s
GROWTH = 4 * 2**20
POOL = 8  # threads that asyncio makes as they are first needed, at the most


class Use(NamedTuple):
    """What a process has."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> Use:
        """At present."""
        process = psutil.Process(pid)
        return cls(process.num_fds(), process.num_threads(), process.memory_info().rss)


@pytest.mark.fault(44)
def test_reloads_without_a_pause(net: Namespace, tmp_path: Path) -> None:
    """By a hundred signals a second, over rotations, the last beside a SIGTERM."""
    index = net.add_veth("v0", "v1")
    path = tmp_path / "capd.toml"
    written = 0

    def write() -> None:
        nonlocal written
        size = SIZES[written % 2].replace(" ", "")
        draft = path.with_suffix(".new")
        write_config(draft, tmp_path, "v0", capture=f'{CAPTURE}rotate_size = "{size}"\n')
        draft.rename(path)
        written += 1

    def storm(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            write()
            capd.signal(signal.SIGHUP)
            time.sleep(PAUSE)

    write()
    with Recorder(net, path) as capd:
        capd.wait_capturing("v0")
        worker = capd.worker()
        with steady(net.name, index) as source:
            storm(WARM)
            before = settled(capd, worker)
            storm(LONG)
            after = settled(capd, worker)
        capd.signal(signal.SIGHUP)
        capd.signal(signal.SIGTERM)
        assert capd.wait() == 0
    assert written > (WARM + LONG) * 20
    changes = sum(1 for line in capd.lines if "v0: rotate_size " in line)
    print(f"{written} reloads, {changes} changes; daemon and worker: {before} {after}")
    assert changes > 20
    for one, two in zip(before, after, strict=True):
        assert two.descriptors == one.descriptors
        assert two.threads - one.threads < POOL
        assert two.memory - one.memory < GROWTH
    found = segments(tmp_path, "v0")
    judge.check_numbers(found, STREAM, source.sent)
    assert_all_clean(found)
    assert parts(tmp_path, "v0") == []


def settled(capd: Recorder, worker: int) -> tuple[Use, Use]:
    """Of the daemon and the worker, once nothing is left to be done."""
    assert capd.reload()
    assert capd.reload() == "nothing changed\n"
    assert capd.worker() == worker
    seen: list[tuple[int, int]] = []

    def same() -> bool:
        use = Use.of(capd.pid)
        seen.append((use.descriptors, use.threads))
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    wait_for(same, 10, "the same descriptors for a while")
    return Use.of(capd.pid), Use.of(worker)


def left_open(path: str) -> int:
    """The daemon's ends of our connections to it: the kernel keeps them where the peers are."""
    table = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(f" {path}") for line in table)


@contextmanager
def crowd(path: str, count: int, word: bytes) -> Iterator[int]:
    """So many peers who say this much and then nothing; gives how many got in."""
    with ExitStack() as stack:
        entered = 0
        for _ in range(count):
            peer = stack.enter_context(socket.socket(socket.AF_UNIX))
            peer.setblocking(False)
            with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                peer.connect(path)
                peer.send(word)
                entered += 1
        yield entered


@pytest.mark.fault(50)
def test_a_thousand_peers_cost_no_packet(net: Namespace, tmp_path: Path) -> None:
    """Silent ones, halves of an order, and more than any order has: nothing is lost meanwhile."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        worker = capd.worker()
        path, most = f"{capd.runtime}/control.sock", 0
        before = Use.of(capd.pid).descriptors
        with steady(net.name, index) as source:
            for word in (b"", b'{"order": "rel', b"x" * 2**16):
                with crowd(path, 1000, word) as entered:
                    assert entered > 100
                    most = max(most, left_open(path))
                wait_for(lambda: capd.order("reload").returncode == 0, 20, "an order")
        assert most >= MOST_CONNECTIONS
        wait_for(lambda: left_open(path) == 0, 10, "no peer to be left")
        # it opens a handful for itself meanwhile; peers that it kept would be hundreds
        assert Use.of(capd.pid).descriptors <= before + MOST_CONNECTIONS
        assert capd.worker() == worker
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, source.sent)


@pytest.mark.fault(44)
def test_a_stop_beside_a_reload(net: Namespace, tmp_path: Path) -> None:
    """A reload that takes another ring is given way to, or refused: nothing captures on."""
    index = net.add_veth("v0", "v1")
    path = tmp_path / "capd.toml"
    sizes = ("64MiB", "96MiB")
    for number in range(4):
        write_config(path, tmp_path, "v0", capture=CAPTURE)
        with Recorder(net, path) as capd:
            capd.wait_capturing("v0")
            with steady(net.name, index):
                written = CAPTURE.replace(*sizes)
                write_config(path, tmp_path, "v0", capture=written)
                capd.signal(signal.SIGHUP)
                time.sleep(number * 0.04)  # at another place of the reload each time
                capd.signal(signal.SIGTERM)
                assert capd.wait(20) == 0
        totals = capd.totals("v0")
        assert totals["received"] == totals["written"] + totals["overlap"] + totals["lost"]
    found = segments(tmp_path, "v0")
    assert_all_clean(found)
    assert parts(tmp_path, "v0") == []
