"""Where a new hook begins, and what keeps one from going on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from capd.config import Hook
from capd.daemon import handed
from capd.daemon.porter import Porter, PorterPlan
from capd.daemon.reaper import Reaper, Territory
from capd.daemon.retention import Policy
from capd.daemon.trusted_clock import TrustedClock
from capd.names import HANDED_FILE, TEMPORARY_SUFFIX, part_name
from capd.spool import Spool
from tests.support.disk import mounted
from tests.support.handing import Yard, put
from tests.support.need import need, need_root
from tests.support.wait import wait_for


def test_on_a_new_disk(tmp_path: Path) -> None:
    """Behind all that has moved to the second directory, and not with the oldest there."""
    yard, second = Yard(tmp_path, "second"), tmp_path / "second"
    put(second, 1, 2, 3)
    (yard.first / "v0" / part_name(4)).touch()
    with yard.begun() as porter:
        assert porter.status is not None
        assert porter.status.waiting == 0
        put(second, 4)
        yard.look()
        assert wait_for(yard.handed_over, 10, "an event") == ["4"]


def test_on_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At once: what is finished while its file cannot be written is handed over all the same."""
    yard = Yard(tmp_path)
    put(yard.first, 1)
    blocked = yard.first / f"{HANDED_FILE}{TEMPORARY_SUFFIX}"
    blocked.mkdir()
    with yard.begun():
        put(yard.first, 2)
        yard.look()
        assert wait_for(yard.handed_over, 10, "an event") == ["2"]
        assert caplog.text.count("cannot write") == 1
        blocked.rmdir()
        wait_for((yard.first / HANDED_FILE).exists, 10, "the file")
        found = handed.read(str(yard.first))
        assert found is not None
        assert found.rings["v0"] == ((1, 1),)


def test_what_cannot_be_done_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks sees that there is a hook and that it fails: no file, then no spool."""
    yard = Yard(tmp_path)
    (yard.first / HANDED_FILE).write_text("{")
    events = Path(yard.spool.events)
    events.write_text("no folder")
    put(yard.first, 1)

    def fails(waiting: int, text: str) -> bool:
        status = yard.porter.status
        return (
            status is not None
            and status.failing
            and status.waiting == waiting
            and (text in caplog.text)
        )

    with yard.begun() as porter:
        wait_for(lambda: fails(0, "mend it, or remove it"), 10, "no file")
        handed.write(str(yard.first), handed.Handed())
        wait_for(lambda: fails(1, f"cannot open {events}"), 10, "no spool")
        events.unlink()
        assert wait_for(yard.handed_over, 10, "an event") == ["1"]
        wait_for(lambda: porter.status is not None and not porter.status.failing, 10, "the end")


def test_a_second_directory_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Since the daemon began: what waits is counted, and what goes meanwhile is told as missed."""
    yard, second = Yard(tmp_path, "second"), tmp_path / "second"
    handed.write(str(yard.first), handed.Handed({"v0": ((1, 1),)}))
    put(yard.first, 1, 2, 3, 4)
    yard.second = None
    with yard.begun(str(second)) as porter:
        wait_for(lambda: porter.status and porter.status.waiting == 3, 10, "a look")
        next(yard.first.glob("v0/*/*_0000000002.pcapng")).unlink()
        yard.look()
        yard.second = second
        put(second, 3)
        for _ in range(2):
            yard.look()
            wait_for(lambda: porter._known == porter._seen, 10, "a look at both")
        assert wait_for(yard.handed_over, 10, "an event") == ["3"]
        wait_for(lambda: porter.status and porter.status.missed == 1, 10, "it to be told")
        assert porter.status is not None
        assert porter.status.waiting == 2
    assert "segment 2 is gone" in caplog.text


def test_a_spool_that_nobody_can_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is not an empty one: what is in it is not handed over a second time."""
    yard = Yard(tmp_path)
    handed.write(str(yard.first), handed.Handed())
    put(yard.first, 1, 2)
    events, aside = Path(yard.spool.events), tmp_path / "aside"
    with yard.begun():
        assert wait_for(yard.handed_over, 10, "an event") == ["1"]
        events.rename(aside)
        events.write_text("no folder")
        wait_for(lambda: f"{events}: Not a directory" in caplog.text, 10, "a word")
        events.unlink()
        aside.rename(events)
        yard.look()
        wait_for(lambda: yard.porter._known == yard.porter._seen, 10, "another look")
    assert yard.handed_over() == ["1"]


def test_an_event_that_cannot_be_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What became of it is heard once it can be, and the next one has its turn."""
    yard = Yard(tmp_path)
    handed.write(str(yard.first), handed.Handed())
    put(yard.first, 1, 2)
    with yard.begun():
        assert wait_for(yard.handed_over, 10, "an event") == ["1"]
        (name,) = yard.spool.names()
        event = Path(yard.spool.events) / name
        event.unlink()
        event.mkdir()
        yard.spool.answer(name, {"done": True})
        wait_for(lambda: f"cannot remove {event}" in caplog.text, 10, "a word")
        event.rmdir()
        wait_for(lambda: yard.handed_over() == ["2"], 10, "the next one")


def test_another_directory_for_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In which nobody can tell what was handed over; then it goes on with the first one."""
    yard, aside, other = Yard(tmp_path), tmp_path / "aside", tmp_path / "other"
    handed.write(str(yard.first), handed.Handed())
    put(yard.first, 1, 2)
    other.mkdir()
    (other / HANDED_FILE).write_text("{")
    with yard.begun():
        assert wait_for(yard.handed_over, 10, "an event") == ["1"]
        yard.first.rename(aside)
        other.rename(yard.first)
        wait_for(lambda: "mend it, or remove it" in caplog.text, 10, "a word")
        yard.first.rename(other)
        aside.rename(yard.first)
        (name,) = yard.spool.names()
        yard.spool.answer(name, {"done": True})
        yard.look()
        wait_for(lambda: yard.handed_over() == ["2"], 10, "the next one")


def test_nothing_is_written_where_a_disk_was(tmp_path: Path) -> None:
    """With `require_mount`, and no new hook begins there."""
    need("mount", "umount")
    need_root()
    if os.stat(tmp_path).st_dev != os.stat("/").st_dev:
        pytest.skip("the tests' directory is on a mount of its own")
    with mounted("tmpfs", tmp_path, 2**24) as disk:
        handed.write(str(disk.path), handed.Handed())
        put(disk.path, 1, 2)
        reaper = Reaper(
            Territory(str(disk.path), require_mount=True, policy=Policy()), TrustedClock()
        )
        porter = Porter(Spool(str(tmp_path)))
        hook = Hook(segment_closed=("/bin/true",))
        porter.adjust(PorterPlan(str(disk.path), "", compress=False, hook=hook))
        reaper.start()
        try:
            wait_for(lambda: reaper.seen, 10, "a look")
            porter.look(reaper.seen, None)
            wait_for(lambda: porter.status, 10, "another one")
            subprocess.run(["umount", "--lazy", str(disk.path)], check=True)
            place = os.stat(disk.path).st_dev
            wait_for(lambda: reaper.space is None, 10, "the disk to be missed")
            porter.look(reaper.seen, None)
            wait_for(lambda: porter._place and porter._place[1] == place, 10, "another place")
        finally:
            porter.end()
            reaper.end()
            reaper.join()
        found = [path.name for path in disk.path.iterdir()]
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk.path)], check=True)
    assert found == []
