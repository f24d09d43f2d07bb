"""The archive process with a tenth of the processor time that it needs, and with all of it again.

What it does without comes from itself: how much it takes for the same traffic is measured first.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capd.catalog import Catalog, Segment, everything
from capd.names import COMPRESSED_SUFFIX
from capd.status import ArchiveStatus
from tests.support import judge
from tests.support.frames import Shape, Stream
from tests.support.ledger import assert_all_clean, deleted
from tests.support.load import steady
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, archive_of, write_config
from tests.support.wait import wait_for

pytestmark = pytest.mark.alone

STREAM = Stream(Shape.fixed(2900))
RATE = 6_000  # two segments a second
MEASURED, THROTTLED = 5.0, 30.0  # s
SHARE = 0.1
KEPT = 48  # segments: fewer than there will be, more than come in while none is archived
STORAGE = f"max_files = {KEPT}"
CAPTURE = 'ring_size = "256MiB"\nflush_interval = "100ms"\nrotate_size = "8MiB"\n'
COMPRESSION = "\n[compression]\nenabled = true\nlevel = 3\n"
STEP = 0.005  # s between two looks at how much was taken


def test_a_tenth_of_what_it_needs(net: Namespace, tmp_path: Path) -> None:
    """Nothing is lost by it, and only the oldest go; afterwards it catches up."""
    need("zstd")
    index = net.add_veth("v0", "v1")
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    config = write_config(tmp_path / "capd.toml", directory, "v0", storage=STORAGE, capture=CAPTURE)
    config.write_text(config.read_text() + COMPRESSION)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        with steady(net.name, index, STREAM, RATE) as source:
            wait_for(lambda: archive(capd).compressed > 1, 20, "a segment that is compressed")
            pid = archive_of(capd.pid)
            needed = measured(pid)
            with throttled(pid, SHARE * needed) as most:
                backlogs = watch(capd)
        print(f"{needed:.3f} of a processor needed, {most():.3f} taken; backlog {backlogs}")
        assert most() < 2 * SHARE * needed
        assert max(backlogs) > KEPT // 3
        wait_for(lambda: settled(directory), 60, "everything compressed")
        wait_for(lambda: caught_up(archive(capd)), 20, "the status to say so")
        assert archive_of(capd.pid) == pid, "it was taken for hanging"
        assert capd.stop() == 0
    check(capd, directory, source.sent)


def check(capd: Recorder, directory: Path, sent: int) -> None:
    """No packet is lost; what is not there any more was told of, and was older than all that is."""
    summary = capd.summary("v0")
    assert (summary.received, summary.written, summary.lost) == (sent, sent, 0)
    there = segments(directory)
    gone = deleted(capd.lines)
    assert [*gone, *(one.seq for one in there)] == [*range(1, there[-1].seq + 1)]
    assert len(gone) > KEPT // 2
    assert len(there) >= KEPT
    paths = [directory / one.path for one in there]
    found = judge.numbers(paths, STREAM)
    assert found == [*range(found[0], sent)]
    assert_all_clean(paths[::8])


def archive(capd: Recorder) -> ArchiveStatus:
    """What the status tells of it."""
    status = wait_for(lambda: capd.status().archive, 20, "a word of the archive process")
    assert status is not None
    return status


def caught_up(status: ArchiveStatus) -> bool:
    return (status.backlog, status.raw_left, status.level) == (0, 0, 3)


def taken(pid: int) -> float:
    """Seconds of processor time of a process, as clock_getcpuclockid(3) has it."""
    return time.clock_gettime(~pid << 3 | 2)


def measured(pid: int) -> float:
    """How much of a processor a process takes."""
    began, before = time.monotonic(), taken(pid)
    wait_for(lambda: time.monotonic() - began > MEASURED, 2 * MEASURED, "the time")
    return (taken(pid) - before) / (time.monotonic() - began)


@contextmanager
def throttled(pid: int, share: float) -> Iterator[Callable[[], float]]:
    """A process gets no more of a processor than this meanwhile; gives how much that was."""
    over = threading.Event()
    began, before = time.monotonic(), taken(pid)
    shares: list[float] = []

    def stop_and_go() -> None:
        while not over.wait(STEP):
            allowed = share * (time.monotonic() - began)
            os.kill(pid, signal.SIGCONT if taken(pid) - before < allowed else signal.SIGSTOP)

    thread = threading.Thread(target=stop_and_go)
    thread.start()
    try:
        yield lambda: shares[-1]
    finally:
        over.set()
        thread.join()
        shares.append((taken(pid) - before) / (time.monotonic() - began))
        os.kill(pid, signal.SIGCONT)


def watch(capd: Recorder) -> list[int]:
    """How many segments waited, as the status told in THROTTLED seconds."""
    began, told = time.monotonic(), [0]
    while time.monotonic() - began < THROTTLED:
        backlog = archive(capd).backlog
        if backlog != told[-1]:
            told.append(backlog)
        time.sleep(0.2)
    return told


def settled(directory: Path) -> bool:
    """Whether every closed segment is there compressed, with an index, and in no other form."""
    return all(
        one.indexed and one.suffix == COMPRESSED_SUFFIX and len(one.suffixes) == 2
        for one in segments(directory)
    )


def segments(directory: Path) -> list[Segment]:
    """All, in the order of their numbers."""
    return list(everything(Catalog(str(directory)).scan()))
