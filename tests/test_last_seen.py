"""How long capd did not run: told by what it left, in a thread, beside the ring's new worker."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.captured import captured_until
from capd.daemon import keepsake
from capd.daemon.keepsake import Keepsake
from capd.daemon.ledger import Ledger
from capd.daemon.links import Links
from capd.daemon.monitor import Monitor
from capd.daemon.recording import Recording
from capd.daemon.ringplan import RingPlan
from capd.daemon.rings import Rings
from capd.losses import Loss
from capd.names import COMPRESSED_SUFFIX, SegmentName, part_name
from capd.units import SECOND
from tests.support.laying import NOON, lay
from tests.support.wait import wait_for
from tests.support.workers import plan

HOUR = 3600 * SECOND
BORN = NOON + 2 * HOUR


def closed(directory: Path, seq: int, at: int) -> None:
    """A segment that was closed then."""
    lay(directory, SegmentName("v0", at - SECOND, seq, COMPRESSED_SUFFIX), at, closed=at)


def part(directory: Path, seq: int, at: int) -> None:
    """One that is not closed, and was last written then."""
    path = directory / "v0" / part_name(seq)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    os.utime(path, ns=(at, at))


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """A ring that this daemon has opened, without packets."""
    wanted = RingPlan(plan(tmp_path), 1, b"", promiscuous=False, entry="v0")
    memory = keepsake.make_memory("capd-test")
    one = Recording(Keepsake(wanted, BORN), socket.socket(socket.AF_UNIX), memory)
    one.keep()
    yield one
    one.release()


def test_what_the_new_ring_has_written(tmp_path: Path) -> None:
    """Does not count, closed or not, however much of it there is."""
    assert captured_until(str(tmp_path), "v0", BORN) is None
    closed(tmp_path, 1, NOON)
    closed(tmp_path, 2, NOON + HOUR)
    for seq in (4, 5):
        closed(tmp_path, seq, BORN + seq * SECOND)
        part(tmp_path, seq + 2, time.time_ns())
    assert captured_until(str(tmp_path), "v0", BORN) == NOON + HOUR
    part(tmp_path, 3, NOON + HOUR + SECOND)  # of a worker that was killed
    assert captured_until(str(tmp_path), "v0", BORN) == NOON + HOUR + SECOND


def test_a_clock_that_was_ahead(tmp_path: Path) -> None:
    """Nobody knows how long ago that was, and what is older tells nothing of it."""
    closed(tmp_path, 1, NOON)
    closed(tmp_path, 2, time.time_ns() + HOUR)
    assert captured_until(str(tmp_path), "v0", BORN) is None


def test_what_goes_while_it_is_looked_at(tmp_path: Path) -> None:
    """And does not come back under another name."""
    closed(tmp_path, 1, NOON)
    (tmp_path / "v0" / part_name(2)).symlink_to("nowhere")
    assert captured_until(str(tmp_path), "v0", BORN) is None


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A bad disk, or no file at all: what else there is tells."""
    closed(tmp_path, 1, NOON)
    (tmp_path / "v0" / part_name(2)).mkdir()
    assert captured_until(str(tmp_path), "v0", BORN) == NOON


def records(ledger: Ledger) -> list[Loss]:
    """What it has made by now."""
    ledger.end()
    return list(ledger.losses)


def test_a_disk_that_hangs(
    tmp_path: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holds up nothing; what it tells then is put on record."""
    closed(tmp_path, 1, NOON)
    answers, listed = threading.Event(), os.listdir

    def hung(path: str) -> list[str]:
        assert answers.wait(30), "somebody waits for the disk"
        return listed(path)

    rings = Rings()
    ledger = Ledger(rings, Monitor(), None)
    rings.current["v0"] = recording
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", hung)
        for _ in range(2):
            ledger.look(Links({}, None), BORN)
            ledger.end()
        assert not ledger.losses
        answers.set()
        (loss,) = wait_for(lambda: records(ledger), 10, "a record")
    assert (loss.interface, loss.since, loss.until) == ("v0", NOON, BORN)
    assert loss.cause == "capd was not capturing it"
