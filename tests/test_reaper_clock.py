"""A clock that is far ahead makes nothing old: what goes for its age is gone for ever."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from capd import hold_folder
from capd.daemon.custody import Custody
from capd.daemon.reaper import Reaper, Territory
from capd.daemon.retention import Policy
from capd.daemon.trusted_clock import TrustedClock
from capd.names import SegmentName
from capd.units import DURATIONS
from tests.support.believing import believing
from tests.support.laying import HOLD, NOON, folder_of, lay, there
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, write_config
from tests.support.stepped_clock import SteppedClock
from tests.support.wait import wait_for

HOUR, DAY = DURATIONS["h"], DURATIONS["d"]
YEAR = 365 * 86400  # s
COUNT = 6
RING = "w0"  # of an earlier run: nobody captures it now


def fill(directory: Path, newest: int) -> list[int]:
    """One segment an hour up to then; their numbers."""
    for seq in range(1, COUNT + 1):
        begin = newest - (COUNT - seq) * HOUR
        lay(directory, SegmentName(RING, begin, seq), begin + 1)
    return numbers(directory)


def numbers(directory: Path) -> list[int]:
    return [one.seq for one in there(directory, RING)]


def test_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the clock all is a year old; every other rule holds, and why the rest stays is said."""
    fill(tmp_path, NOON)
    policy = Policy(max_age=90 * DAY, max_files=COUNT - 2)
    reaper = Reaper(Territory(str(tmp_path), require_mount=False, policy=policy), TrustedClock())
    reaper.start()
    try:
        wait_for(lambda: reaper.outlook.segments, 10, "a look")
        looked = reaper.outlook
        reaper.wake()
        wait_for(lambda: reaper.outlook is not looked, 10, "another look")
    finally:
        reaper.end()
        reaper.join()
    assert numbers(tmp_path) == [3, 4, 5, 6]
    assert caplog.text.count("it is 2025-11-24 12:00:0") == 1, caplog.text
    assert "3 segments are not deleted for max_age until the clock has said so for 1 d" in (
        caplog.text
    )


def test_a_hold_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not end by one wrong answer, and by the right one it does."""
    directory, now = tmp_path, time.time_ns
    with folder_of(directory) as folder:
        hold_folder.write(folder, replace(HOLD, expires_at=now() + HOUR // 2))
    trusted = believing()
    for ahead, kept in ((0, 1), (YEAR * 10**9, 1), (0, 1), (HOUR * 3 // 4, 0)):
        monkeypatch.setattr(time, "time_ns", lambda ahead=ahead: now() + ahead)
        custody = Custody(str(directory), str(directory), trusted)  # as a reload may do
        custody.look()
        assert len(custody.summary.holds) == len(hold_folder.of(str(directory)).holds) == kept


def test_a_hold_at_the_start(tmp_path: Path) -> None:
    """By the clock it is over long ago, but it is not before the segments have been seen."""
    fill(tmp_path, NOON)
    with folder_of(tmp_path) as folder:
        hold_folder.write(folder, replace(HOLD, expires_at=NOON + DAY))
    reaper = Reaper(Territory(str(tmp_path), require_mount=False, policy=Policy()), TrustedClock())
    for _ in range(2):
        reaper._look(reaper._territory)
        assert len(reaper.holds.holds) == 1


def test_a_jump(net: Namespace, tmp_path: Path) -> None:
    """Of a year, under a daemon that runs."""
    need("gcc")
    net.add_veth("v0", "v1")
    clock, directory = SteppedClock(tmp_path), tmp_path / "captures"
    directory.mkdir(0o750)
    before = fill(directory, time.time_ns() - HOUR)
    path = tmp_path / "capd.toml"
    config = write_config(path, directory, "v0", storage='max_age = "90d"')
    with Recorder(net, config, clock.prefix) as capd:
        capd.wait_capturing("v0")
        wait_for(lambda: told_of(capd) == COUNT, 10, "a look")
        clock.set(YEAR)
        write_config(path, directory, "v0", storage='max_age = "90d"\nmax_files = 1000')
        capd.reload()  # it looks at once
        capd.wait_line(
            f"WARNING .*: the system clock says .*: {COUNT - 1} segments are not deleted"
        )
        assert numbers(directory) == before
        clock.set(0)
        assert capd.stop() == 0
    assert numbers(directory) == before


def told_of(capd: Recorder) -> int:
    disk = capd.status().disk
    return -1 if disk is None else disk.segments
