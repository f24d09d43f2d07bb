"""The archive process: when it works, when it waits, and how it ends."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from capd.messages import Load
from tests.support.archive import BUSY, RELAXED, Shelf, office, plan
from tests.support.need import need
from tests.support.wait import wait_for

MIB = 2**20


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty capture directory."""
    return Shelf(tmp_path)


def test_it_waits_for_a_word_about_the_load(shelf: Shelf) -> None:
    """Without one it does nothing, and when they end it stops within seconds."""
    shelf.add(1)
    with office(plan(shelf.directory), load=None) as one:
        assert one.wait_report(backlog=1).paused
        time.sleep(1)
        assert len(shelf.files) == 1
        one.load = RELAXED
        one.wait_idle()
        one.load = None
        one.wait_report(paused=True)
        shelf.add(2)
        one.look()
        one.wait_report(backlog=1)
        assert len(shelf.files) == 3


def test_it_pauses_within_a_section(shelf: Shelf) -> None:
    """In the middle of a segment; and goes on where it was."""
    shelf.add(1, 16 * MIB)
    with office(plan(shelf.directory, level=15)) as one:
        wait_for(lambda: any(name.endswith(".zst.part") for name in shelf.files), 20, "a start")
        one.tell(BUSY)
        one.wait_report(paused=True)
        wait_for(lambda: _at_rest(one.pid), 20, "a pause")
        assert len(shelf.files) == 2
        one.tell(Load(0.2, late=False))
        one.wait_report(paused=True)  # not before the ring has drained
        one.tell(Load(0.05, late=True))
        one.wait_report(paused=True)
        one.tell(RELAXED)
        one.wait_report(paused=False)
        one.wait_idle(120)
        assert not one.events
    shelf.check()


def test_a_backlog_lowers_the_level(shelf: Shelf) -> None:
    """And at last leaves segments raw, which are compressed when there is time."""
    for seq in range(1, 41):
        shelf.add(seq, 2000)
    with office(plan(shelf.directory), load=BUSY) as one:
        assert one.wait_report(backlog=40).level == 0
        one.tell(RELAXED)
        done = one.wait_idle()
        assert (done.indexed, done.compressed, done.level) == (40, 40, 3)
        assert not one.events
    shelf.check()


def test_many_rings_are_no_backlog(shelf: Shelf) -> None:
    """Forty that close a segment at the same minute are not late with any."""
    for seq in range(1, 41):
        shelf.add(seq, 2000, ring=f"v{seq}")
    with office(plan(shelf.directory), load=BUSY) as one:
        assert one.wait_report(backlog=40).level == 3


def test_without_its_mount_it_does_nothing(shelf: Shelf) -> None:
    """The directory lies on the file system of `/`."""
    if os.stat(shelf.directory).st_dev != os.stat("/").st_dev:
        pytest.skip("the tests' directory is on a mount of its own")
    path = shelf.add(1)
    Path(f"{path}.zst.part").write_bytes(b"half")
    with office(plan(shelf.directory, require_mount=True)) as one:
        one.look()
        time.sleep(1)
        one.look()
        assert one.wait_report().backlog == 0
    assert shelf.files == [path.name, f"{path.name}.zst.part"]


@pytest.mark.parametrize("how", ["SIGTERM", "socket"])
def test_it_leaves_soon(shelf: Shelf, how: str) -> None:
    """In the middle of a segment; and what it made of it is gone."""
    shelf.add(1, 48 * MIB)
    with office(plan(shelf.directory, level=12)) as one:
        wait_for(lambda: any(name.endswith(".zst.part") for name in shelf.files), 20, "a start")
        assert (one.terminate() if how == "SIGTERM" else one.hang_up()) == 0
    assert len(shelf.files) == 1  # it has not waited for the end of it


def test_it_is_the_last_to_get_anything(shelf: Shelf) -> None:
    """Every thread: processor, disk."""
    need("ionice", "chrt")
    shelf.add(1, 48 * MIB)
    with office(plan(shelf.directory, level=12, threads=2)) as one:
        wait_for(lambda: any(name.endswith(".zst.part") for name in shelf.files), 20, "a start")
        threads = os.listdir(f"/proc/{one.pid}/task")
        assert len(threads) > 3
        for thread in threads:
            assert os.sched_getscheduler(int(thread)) == os.SCHED_IDLE
            assert os.getpriority(os.PRIO_PROCESS, int(thread)) == 19
            argv = ["ionice", "-p", thread]
            said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            assert said.strip() == "idle"


def test_retention_takes_a_segment_from_under_it(shelf: Shelf) -> None:
    """It is gone, and is not to come back compressed."""
    path = shelf.add(1, 24 * MIB)
    with office(plan(shelf.directory, level=9)) as one:
        wait_for(lambda: any(name.endswith(".zst.part") for name in shelf.files), 20, "a start")
        path.unlink()
        one.wait_idle()
        wait_for(lambda: not shelf.files, 20, "nothing")
        assert not one.events


def _at_rest(pid: int) -> bool:
    """Whether it takes no processor time to speak of."""

    def spent() -> int:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return int(stat[11]) + int(stat[12])

    before = spent()
    time.sleep(0.5)
    return spent() - before <= 1
