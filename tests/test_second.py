"""Segments move to the second directory: whole, once, the oldest first, or not at all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from capd.archive.compressor import MismatchError
from capd.archive.folder import opened
from capd.archive.keeping import read_index
from capd.archive.moving import move, shelf
from capd.catalog import Catalog, everything
from capd.messages import ArchivePlan, Load
from tests.support.archive import Shelf, office, plan, read_back
from tests.support.disk import Faults, mounted
from tests.support.need import need
from tests.support.wait import wait_for

FREE = Load(0.0, late=False, reserve=0)  # there is room for everything


class Both:
    """A capture directory and a second one."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = folder / "captures", folder / "archive"
        self.first.mkdir()
        self.second.mkdir()
        self.shelf = Shelf(self.first)

    def plan(self, **changes: object) -> ArchivePlan:
        """To move everything."""
        return plan(self.first, **{"second": str(self.second)} | changes)

    def moved(self) -> list[int]:
        """The numbers of the segments in the second directory."""
        return [one.seq for one in everything(Catalog(str(self.second)).scan())]

    def files(self) -> list[Path]:
        """Everything in the second directory that is not a directory."""
        return [path for path in self.second.rglob("*") if not path.is_dir()]

    def check(self, *, compressed: bool = True) -> None:
        """All but the newest of each ring are in the second directory; each once, as it was."""
        found = {
            directory: list(everything(Catalog(str(directory)).scan()))
            for directory in (self.first, self.second)
        }
        newest = {one.ring: one.seq for segments in found.values() for one in segments}
        for one in everything(Catalog(str(self.first)).scan()):
            newest[one.ring] = max(newest[one.ring], one.seq)
        assert {one.ring: one.seq for one in found[self.first]} == newest
        assert len(found[self.first]) == len(newest)
        everywhere = [one.seq for segments in found.values() for one in segments]
        assert sorted(everywhere) == sorted(self.shelf.contents)
        for directory, segments in found.items():
            expected: list[str] = []
            for one in segments:
                assert one.indexed and len(one.suffixes) == 2, one  # noqa: PT018  one thing
                assert (".zst" in one.suffix) == compressed, one
                assert read_back(directory / one.path) == self.shelf.contents[one.seq]
                expected += one.files
            files = [path for path in directory.rglob("*") if not path.is_dir()]
            assert sorted(str(path.relative_to(directory)) for path in files) == sorted(expected)


@pytest.fixture
def both(tmp_path: Path) -> Both:
    """Two empty directories."""
    return Both(tmp_path)


@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "raw"])
def test_all_but_the_newest(both: Both, compressed: bool) -> None:
    """Of each ring; later ones follow, and no empty folder stays behind."""
    for seq in range(1, 5):
        both.shelf.add(seq)
    both.shelf.add(100, ring="v1")
    with office(both.plan(compress=compressed), load=FREE) as one:
        done = one.wait_report(backlog=0, unmoved=0, moved=3)
        both.check(compressed=compressed)
        assert done.moved_bytes == sum(
            segment.size for segment in everything(Catalog(str(both.second)).scan())
        )
        assert done.wanted == 0
        both.shelf.add(86_400 * 40, ring="v1")  # on another day
        one.look()
        one.wait_report(unmoved=0, moved=4)
        assert len(list((both.first / "v1").iterdir())) == 1
        assert not one.events
    both.check(compressed=compressed)
    assert {path.stat().st_mode & 0o777 for path in both.second.glob("*/*/*")} == {0o640}


def test_switched_on_and_off(both: Both) -> None:
    """By a reload, while the process goes on."""
    for seq in (1, 2):
        both.shelf.add(seq)
    with office(plan(both.first), load=FREE) as one:
        one.wait_idle()
        assert both.moved() == []
        one.adjust(second=str(both.second))
        one.wait_report(moved=1, unmoved=0)
        one.adjust(second="")
        both.shelf.add(3)
        one.wait_idle()
        assert both.moved() == [1]
        one.adjust(second=str(both.second), threads=2)
        one.wait_report(moved=2, unmoved=0)
    both.check()


@pytest.mark.fault(49)
def test_it_waits_for_room(both: Both) -> None:
    """And says how much it wants, and, after a while, that there is none."""
    for seq in range(1, 4):
        both.shelf.add(seq)
    space = os.statvfs(both.second)
    free = space.f_bavail * space.f_frsize
    with office(both.plan(), load=FREE._replace(reserve=2 * free)) as one:
        told = one.wait_report(unmoved=2, backlog=0)
        oldest = next(iter(everything(Catalog(str(both.first)).scan())))
        assert told.wanted == oldest.size
        wait_for(lambda: one.events, 30, "a word about it")
        assert both.moved() == []
        assert [event.name for event in one.events] == ["CANNOT_MOVE"]
        assert f"no room for {oldest.path}" in one.events[0].text
        one.tell(FREE._replace(reserve=None))  # not usable at all
        time.sleep(1.5)
        assert both.moved() == []
        one.tell(FREE)
        one.wait_report(moved=2, unmoved=0)
        assert [event.name for event in one.events] == ["CANNOT_MOVE", "MOVES_AGAIN"]
    both.check()


def test_the_first_disk_is_full(both: Both) -> None:
    """What moves makes room; nothing else is done while capture waits for it."""
    for seq in (1, 2, 3):
        both.shelf.add(seq)
    with office(both.plan(second="", compress=False), load=FREE) as one:
        one.wait_idle()
        one.tell(Load(1.0, late=True, reserve=0))
        one.wait_report(paused=True)
        one.adjust(second=str(both.second))
        one.wait_report(unmoved=2)
        one.wait_report(unmoved=2)
        assert both.moved() == []
        one.tell(Load(1.0, late=True, reserve=0, full=True))
        one.wait_report(unmoved=0, moved=2, paused=True)
    both.check(compressed=False)


def test_what_is_forbidden_meanwhile(both: Both, tmp_path: Path) -> None:
    """A segment that was chosen stays, if its room is being looked at when that is said."""
    need("strace")
    for seq in (1, 2):
        both.shelf.add(seq)
    space = os.statvfs(both.second)
    scarce = FREE._replace(reserve=2 * space.f_bavail * space.f_frsize)
    with office(both.plan(), load=scarce) as one:
        one.wait_report(unmoved=1, backlog=0)
        log = tmp_path / "log"
        with Faults(one.pid, "fstatfs", "delay_enter=2000000", log):
            seen = log.read_text().count("fstatfs(")
            wait_for(lambda: log.read_text().count("fstatfs(") > seen, 10, "a look at the room")
            one.tell(FREE._replace(reserve=None))
            wait_for(lambda: log.read_text().count("= 0") > seen, 10, "its end")
        one.wait_idle()
        assert both.moved() == []


@pytest.mark.fault(49)
def test_a_second_directory_that_is_not_there(both: Both) -> None:
    """Nothing is made in its place, the rest is done, and it goes on when it is there again."""
    both.second.rmdir()
    for seq in range(1, 4):
        both.shelf.add(seq)
    with office(both.plan(), load=FREE) as one:
        one.wait_report(backlog=0, compressed=3)
        wait_for(lambda: one.events, 20, "a word about it")
        both.shelf.check()
        assert not both.second.exists()
        both.second.mkdir()
        one.wait_report(timeout=90, moved=2, unmoved=0)
        assert [event.name for event in one.events] == ["CANNOT_MOVE", "MOVES_AGAIN"]
        assert "No such file or directory; 2 segments stay in" in one.events[0].text
    both.check()


def test_its_disk_must_be_mounted(both: Both) -> None:
    """With `require_mount`, nothing is written on the root file system."""
    if os.stat(both.second).st_dev != os.stat("/").st_dev:
        pytest.skip("the tests' directory is on a mount of its own")
    for seq in (1, 2):
        both.shelf.add(seq)
    with office(both.plan(second_require_mount=True), load=FREE) as one:
        wait_for(lambda: one.events, 20, "a word about it")
        assert "it is on the root file system, and require_mount is set" in one.events[0].text
    assert list(both.second.iterdir()) == []


@pytest.mark.fault(49)
def test_what_is_there_already(both: Both, tmp_path: Path) -> None:
    """Half of it is made anew, all of it is not; what is not capd's stays."""
    for seq in range(1, 6):
        both.shelf.add(seq)
    with office(both.plan(second=""), load=FREE) as one:
        one.wait_idle()
    oldest, half, index, foreign, _ = everything(Catalog(str(both.first)).scan())
    folder = (both.second / oldest.path).parent
    folder.mkdir(parents=True)
    for file in oldest.files:  # moved, but for the end of it
        (both.second / file).write_bytes((both.first / file).read_bytes())
    content = (both.first / half.path).read_bytes()
    (both.second / half.path).write_bytes(content[:-5])
    (both.second / f"{half.path}.part").write_bytes(b"left by one that died")
    (both.second / f"{half.path.replace('_0000000002', '_0000000077')}.part").write_bytes(b"too")
    (both.second / f"{index.path}.idx").write_bytes(b"without data")
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (both.second / foreign.path).symlink_to(precious)
    (folder / "notes").write_bytes(b"mine")
    with office(both.plan(), load=FREE) as one:
        one.wait_report(unmoved=0)
    assert precious.read_bytes() == b"precious"
    (folder / "notes").unlink()
    both.check()


@pytest.mark.fault(49)
def test_a_copy_that_comes_back_changed(both: Both) -> None:
    """It is no copy: the segment stays, and what was made goes."""
    path = both.shelf.add(1, 12 * 2**20)
    with office(both.plan(second="", compress=False), load=FREE) as one:
        one.wait_idle()
    segment = next(iter(everything(Catalog(str(both.first)).scan())))
    place = os.path.dirname(segment.path)
    turns = 0

    def spoil() -> None:
        nonlocal turns
        turns += 1
        if turns == 4:  # all is copied, and nothing read back
            (part,) = both.second.glob("*/*/*.part")
            with part.open("r+b") as file:
                file.seek(5_000_000)
                file.write(b"\xff")
                os.fsync(file.fileno())

    with (
        opened(str(both.first), place) as source,
        shelf(str(both.second), place, require_mount=False) as there,
    ):
        assert source is not None
        contents = read_index(source, segment.name)
        assert contents is not None
        with pytest.raises(MismatchError):
            move(source, there.folder, segment.name, contents, spoil)
    assert turns > 4
    assert path.read_bytes() == both.shelf.contents[1]
    assert both.files() == []


def test_retention_takes_a_segment_from_under_it(both: Both) -> None:
    """It is gone, and does not come back in the second place."""
    path = both.shelf.add(1, 24 * 2**20)
    both.shelf.add(2)
    with office(both.plan(second="", compress=False), load=FREE) as one:
        one.wait_idle()
        one.adjust(second=str(both.second))
        wait_for(lambda: list(both.second.glob("*/*/*.part")), 20, "a start")
        path.unlink()
        del both.shelf.contents[1]
        one.wait_report(unmoved=0)
        wait_for(lambda: not list(both.second.glob("*/*/*")), 20, "nothing")
        assert not one.events


@pytest.mark.fault(49)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_refuses(both: Both, tmp_path: Path, error: str) -> None:
    """It is told once, tried again, and the rest goes on meanwhile; then they move."""
    need("strace")
    for seq in (1, 2, 3):
        both.shelf.add(seq)
    with office(both.plan(second="", compress=False), load=FREE) as one:
        one.wait_idle()
        with Faults(one.pid, "pwrite64", f"error={error}", tmp_path / "log") as faults:
            one.adjust(second=str(both.second))
            wait_for(lambda: len(faults.injected) > 2, 30, "several tries")
            assert [event.name for event in one.events] == ["CANNOT_MOVE"]
            wait_for(lambda: not both.files(), 20, "nothing left of a try")
        told = one.wait_report(timeout=60, moved=2, unmoved=0)
        assert (told.refused > 2) == (error == "ENOSPC"), "the daemon makes room for want of it"
        assert [event.name for event in one.events] == ["CANNOT_MOVE", "MOVES_AGAIN"]
        both.shelf.add(4)
        one.look()
        one.wait_report(moved=3, unmoved=0)
    both.check(compressed=False)


def test_a_file_system_without_o_direct(both: Both, tmp_path: Path) -> None:
    """As some network file systems are."""
    with mounted("tmpfs", tmp_path, 64 * 2**20) as disk:
        for seq in (1, 2, 3):
            both.shelf.add(seq)
        with office(both.plan(second=str(disk.path)), load=FREE) as one:
            one.wait_report(moved=2, unmoved=0)
            assert not one.events
        for segment in everything(Catalog(str(disk.path)).scan()):
            assert read_back(disk.path / segment.path) == both.shelf.contents[segment.seq]
