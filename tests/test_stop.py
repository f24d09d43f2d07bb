"""Ends: asked for under full load, asked for twice, of the worker alone, and by force."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capd.messages import Report
from capd.names import SegmentName
from capd.units import SECOND
from tests.support import judge
from tests.support.frames import Shape, Stream
from tests.support.ledger import assert_all_clean, check_ledger
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.workers import plan, posted
from tests.support.xdp import FrameSource

STREAM = Stream(Shape.fixed(1500))
RING = 'ring_size = "64MiB"\nrotate_size = "64MiB"'


@contextmanager
def traffic(source: FrameSource, rate: float | None = None) -> Iterator[None]:
    """Frames without end meanwhile; at full speed if no rate is given."""
    over = threading.Event()

    def inject() -> None:
        while not over.is_set():
            if rate is None:
                source.inject(500)
            else:
                source.inject_at(rate, int(rate / 20))

    thread = threading.Thread(target=inject)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.fault(41)
@pytest.mark.parametrize("order", [signal.SIGINT, signal.SIGTERM], ids=lambda order: order.name)
def test_a_stop_under_full_load(net: Namespace, tmp_path: Path, order: signal.Signals) -> None:
    """Drained to the last accepted packet; what comes after the stop is not accepted."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=RING)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        with traffic(source):
            wait_for(lambda: source.sent > 50_000, 20, "packets")
            os.kill(capd.pid, order)
            asked = time.monotonic()
            assert capd.wait() == 0
            assert time.monotonic() - asked < 30
        sent = source.sent
    summary = check_ledger(capd, tmp_path, "v0", STREAM, None)
    assert 50_000 < summary.received < sent
    assert summary.disk == summary.malformed == 0
    assert parts(tmp_path, "v0") == []
    assert len(segments(tmp_path, "v0")) == summary.files
    assert_all_clean(segments(tmp_path, "v0"))
    if summary.dropped == 0:
        judge.check_numbers(segments(tmp_path, "v0"), STREAM, summary.received)


def test_asked_again_while_it_drains(net: Namespace, tmp_path: Path) -> None:
    """A person who presses Ctrl-C twice, or five times, loses nothing by it."""
    index = net.add_veth("v0", "v1")
    config = write_config(
        tmp_path / "capd.toml", tmp_path, "v0", capture=RING + '\nflush_interval = "1s"'
    )
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        source.inject_at(20_000, 10_000)
        os.kill(worker, signal.SIGSTOP)  # now the drain cannot end before it has been asked again
        for order in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(capd.pid, order)
            wait_for(lambda: not _pending(capd.pid), 20, "the signal to arrive")
        os.kill(worker, signal.SIGINT)  # what a Ctrl-C that reaches it would do
        os.kill(worker, signal.SIGCONT)
        assert capd.wait() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, 10_000).lost == 0
    assert parts(tmp_path, "v0") == []


def test_a_finish_by_hand(net: Namespace, tmp_path: Path) -> None:
    """It ends a daemon for good, so that one that systemd would start again refuses."""
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=RING)
    with Path("/dev/null").open() as nothing:
        service = Recorder(net, config, kept={"nothing": nothing.fileno()})
    with service:
        service.wait_capturing("v0")
        done = service.order("finish")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "capd is a service, and systemd would start it again at once, with a gap between; "
            "to end it: systemctl stop capd\n"
        )
        assert service.status().state == "running"
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        done = capd.order("finish")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert capd.wait() == 0


def test_a_reload_while_it_drains(net: Namespace, tmp_path: Path) -> None:
    """It is refused, and capd is said to be what it is."""
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=RING)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        worker = capd.worker()
        os.kill(worker, signal.SIGSTOP)  # now the drain lasts
        capd.signal(signal.SIGINT)
        wait_for(lambda: capd.status().state == "stopping", 10, "the end to begin")
        done = capd.order("reload")
        assert (done.returncode, done.stderr) == (1, "capd ends, and changes nothing any more\n")
        before = capd.status().written_at
        wait_for(lambda: capd.status().written_at > before, 10, "another status")
        assert capd.status().state == "stopping"
        os.kill(worker, signal.SIGCONT)
        assert capd.wait() == 0


def _pending(pid: int) -> bool:
    """Whether a signal has been sent to the process and not been taken yet."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status)
    return int(fields["ShdPnd"], 16) != 0


def test_the_end_while_a_segment_cannot_get_its_name(net: Namespace, tmp_path: Path) -> None:
    """It stays the worker's until that is gone: nobody else is to close it at the same time."""
    index = net.add_veth("v0", "v1")
    made = plan(tmp_path, rotate_size=2**20)
    with posted(net, made) as post, FrameSource(STREAM, index, net.name) as source:
        post.start()
        wait_for(lambda: len(parts(tmp_path, "v0")) == 2, 20, "a segment and its spare")
        day = time.time_ns() // 86_400 // SECOND
        for each in (day, day + 1):
            name = SegmentName("v0", each * 86_400 * SECOND, 1).folder
            (tmp_path / "v0" / name).touch()  # a file where a folder is to be
        source.inject_at(20_000, 1_000)
        post.wait_written(1_000)
        post.finish()
    last = [one for one in post.heard if isinstance(one, Report)][-1]
    assert (last.segment, last.oldest) == (None, 1)
    assert len(parts(tmp_path, "v0")) == 2
