"""A ring's folder: numbers, names, and nobody's links followed."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from capd import folders, pcapng
from capd.capture.closing import closing_statistics
from capd.capture.folder import MOST_HEADER, Folder
from capd.capture.outcomes import Spare
from capd.capture.state import SegmentState, State
from capd.errors import StorageError
from capd.names import SegmentName, part_name
from tests.support.disk import mounted
from tests.support.keeping import HEADER, bench
from tests.support.need import need, need_root
from tests.support.remnants import unclosed

STAMP = 1_767_225_599_000_000_042  # 2025-12-31
DAY = "2025-12-31"


def segment(seq: int, suffix: str = ".pcapng") -> str:
    """A finished segment's name."""
    return SegmentName("eth0", STAMP, seq, suffix).file


def test_folder_is_made_and_used_again(tmp_path: Path) -> None:
    """Private to capd and its group."""
    assert Folder(str(tmp_path), "eth0").last_number(pytest.fail) == 0
    assert Folder(str(tmp_path), "eth0").path == str(tmp_path / "eth0")
    assert stat.S_IMODE((tmp_path / "eth0").stat().st_mode) & 0o027 == 0


def test_two_make_the_same_folder(tmp_path: Path) -> None:
    """At once: a worker that closes a segment, and who salvages one of the same day."""
    parent, together = os.open(tmp_path, os.O_RDONLY), threading.Barrier(2)
    failed: list[OSError] = []

    def make() -> None:
        for number in range(1000):
            together.wait()
            try:
                os.close(folders.subfolder(parent, str(number)))
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    os.close(parent)
    assert failed == []


@pytest.mark.parametrize(
    ("names", "last"),
    [
        ([], 0),
        (["0000000003.pcapng.part"], 3),
        (["0000000003.pcapng.part", f"{DAY}/{segment(2)}"], 3),
        (["0000000003.pcapng.part", f"{DAY}/{segment(4)}"], 4),
        ([f"{DAY}/{segment(4, '.pcapng.suspect')}"], 4),
        ([f"{DAY}/{segment(7)}", f"2026-01-01/{segment(5)}"], 7),
        ([f"{DAY}/{segment(12_345_678_901)}", "0000000003.pcapng.part"], 12_345_678_901),
        ([f"other/{segment(9)}", f"{DAY}-old/{segment(9)}", segment(9)], 0),
        (["9.pcapng.part", "0000000009.pcapng", "notes", f"{DAY}/0000000009.pcapng.part"], 0),
        ([f"{DAY}/x.pcapng", f"{DAY}/{segment(1)}.bak", f"{DAY}/{segment(1)}"], 1),
        ([DAY, "0000000001.pcapng.part"], 1),  # a file in a dated folder's place
    ],
)
def test_last_number(tmp_path: Path, names: list[str], last: int) -> None:
    """Parts and finished segments count, wherever they are; foreign names do not."""
    folder = Folder(str(tmp_path), "eth0")
    for name in names:
        path = tmp_path / "eth0" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    before = os.listdir("/proc/self/fd")
    assert folder.last_number(pytest.fail) == last
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.security("links")
def test_last_number_follows_no_link(tmp_path: Path) -> None:
    """Not even to a folder with segments in it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / segment(9)).touch()
    folder = Folder(str(tmp_path), "eth0")
    (tmp_path / "eth0" / DAY).symlink_to(elsewhere)
    (tmp_path / "eth0" / "2026-01-01").symlink_to(tmp_path / "nowhere")
    before = len(os.listdir("/proc/self/fd"))
    assert folder.last_number(pytest.fail) == 0
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.fault(51)
@pytest.mark.security("links")
def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """Nothing is made behind it; a file in its place is refused as well."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "eth0").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "eth1").touch()
    for ring in ("eth0", "eth1"):
        with pytest.raises(StorageError, match=f"cannot use {tmp_path}/{ring}: Not a directory"):
            Folder(str(tmp_path), ring)
    with pytest.raises(StorageError, match="No such file"):
        Folder(str(tmp_path / "absent"), "eth0")


@pytest.mark.security("links")
def test_folder_stays_the_same_when_a_link_takes_its_place(tmp_path: Path) -> None:
    """An open folder is used by its descriptor."""
    folder = Folder(str(tmp_path), "eth0")
    (tmp_path / "eth0").rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "eth0").symlink_to(tmp_path / "elsewhere")
    fd, _ = folder.create(1)
    os.close(fd)
    folder.sync(folder.rename(1, STAMP, trusted=True))
    assert os.listdir(tmp_path / "elsewhere") == []
    assert (tmp_path / "moved" / DAY / segment(1)).exists()


def test_files_that_were_made_ahead_go(tmp_path: Path) -> None:
    """And nothing else that has a higher number: what lay on a disk that was mounted since."""
    folder = Folder(str(tmp_path), "eth0")
    precious = {
        2: unclosed(1),
        7: unclosed(1),
        8: unclosed(0) + closing_statistics(SegmentState(8, dropped=3)),
        9: unclosed(0)[:-1],
        10: unclosed(0) + pcapng.padding(MOST_HEADER),
    }
    ahead = {3: b"", 4: unclosed(0), 5: unclosed(0) + pcapng.padding(400)}
    for seq, content in (precious | ahead).items():
        (tmp_path / "eth0" / part_name(seq)).write_bytes(content)
    (tmp_path / "eth0" / part_name(11)).symlink_to("nowhere")
    folder.remove_after(2)
    left = sorted(os.listdir(tmp_path / "eth0"))
    assert left == [part_name(seq) for seq in (*sorted(precious), 11)]
    assert all(
        (tmp_path / "eth0" / part_name(seq)).read_bytes() == content
        for seq, content in precious.items()
    )


@pytest.mark.parametrize("written", [0, 1])
def test_numbers_go_on_behind_those_of_another_disk(tmp_path: Path, written: int) -> None:
    """That was mounted after the worker before had begun: or the newest would seem the oldest."""
    dated = tmp_path / "eth0" / DAY
    dated.mkdir(parents=True)
    (dated / segment(123)).touch()
    with bench(tmp_path) as it:
        it.keeper.begin(State(segment=SegmentState(5, len(HEADER), written=written)))
        spare = it.first(Spare)
        assert isinstance(spare, Spare)
        assert spare.seq == 124
        it.drop(spare)
        it.outcomes += it.keeper.collect()
        missed = ["segment 5 was deleted" in str(one) for one in it.outcomes]
        assert sum(missed) == written
        it.outcomes.clear()


@pytest.mark.fault(51)
def test_create(tmp_path: Path) -> None:
    """A new file, readable by the group at most, not inherited by programs."""
    folder = Folder(str(tmp_path), "eth0")
    fd, _ = folder.create(5)
    found = os.fstat(fd)
    assert os.path.samestat(found, (tmp_path / "eth0" / part_name(5)).stat())
    assert stat.S_IMODE(found.st_mode) & 0o137 == 0
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.fault(29, 51)
@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
@pytest.mark.security("links")
def test_create_takes_nothing_that_is_there(tmp_path: Path, kind: str) -> None:
    """A file or link that someone put there is refused and stays as it is."""
    folder = Folder(str(tmp_path), "eth0")
    part, target = tmp_path / "eth0" / part_name(5), tmp_path / "target"
    if kind == "file":
        part.write_bytes(b"precious")
    else:
        part.symlink_to(target)
    if kind == "link":
        target.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        folder.create(5)
    assert part.is_symlink() == (kind != "file")
    assert (target if kind == "link" else part).exists() == (kind != "dangling")
    assert not target.exists() or target.read_bytes() == b"precious"


def test_create_without_direct(tmp_path: Path) -> None:
    """Where O_DIRECT is refused, the file is made without it; others stay refused."""
    need("mount", "umount")
    need_root()
    with mounted("ramfs", tmp_path, 2**20) as disk:
        folder = Folder(str(disk.path), "eth0")
        fd, direct = folder.create(5)
        assert not direct
        assert os.pwrite(fd, b"any length", 3) == 10
        os.close(fd)
        with pytest.raises(FileExistsError):
            folder.create(5)
        assert (disk.path / "eth0" / part_name(5)).stat().st_size == 13


def test_remove(tmp_path: Path) -> None:
    """The link, not what it leads to; twice is no error."""
    folder = Folder(str(tmp_path), "eth0")
    (tmp_path / "target").touch()
    (tmp_path / "eth0" / part_name(5)).symlink_to(tmp_path / "target")
    folder.remove(5)
    folder.remove(5)
    assert os.listdir(tmp_path / "eth0") == []
    assert (tmp_path / "target").exists()


@pytest.mark.parametrize(("trusted", "suffix"), [(True, ".pcapng"), (False, ".pcapng.suspect")])
def test_rename(tmp_path: Path, suffix: str, *, trusted: bool) -> None:
    """Into the dated folder, under the name that says it."""
    folder = Folder(str(tmp_path), "eth0")
    for seq in (5, 6):
        fd, _ = folder.create(seq)
        os.close(fd)
        name = folder.rename(seq, STAMP, trusted=trusted)
        folder.sync(name)
        assert (name.folder, name.file) == (DAY, segment(seq, suffix))
    assert sorted(os.listdir(tmp_path / "eth0" / DAY)) == [segment(5, suffix), segment(6, suffix)]
    assert os.listdir(tmp_path / "eth0") == [DAY]
    assert folder.last_number(pytest.fail) == 6


@pytest.mark.fault(29)
def test_rename_never_overwrites(tmp_path: Path) -> None:
    """Whatever has the name, even a link that leads nowhere."""
    folder = Folder(str(tmp_path), "eth0")
    dated = tmp_path / "eth0" / DAY
    dated.mkdir()
    (dated / segment(1)).write_bytes(b"precious")
    (dated / segment(2)).symlink_to(tmp_path / "nowhere")
    for seq in (1, 2):
        fd, _ = folder.create(seq)
        os.close(fd)
        with pytest.raises(FileExistsError):
            folder.rename(seq, STAMP, trusted=True)
        assert (tmp_path / "eth0" / part_name(seq)).exists()
    assert (dated / segment(1)).read_bytes() == b"precious"
    assert (dated / segment(2)).is_symlink()


@pytest.mark.fault(51)
@pytest.mark.security("links")
def test_a_link_in_place_of_a_dated_folder_is_refused(tmp_path: Path) -> None:
    """The segment keeps its name rather than go where the link leads."""
    folder = Folder(str(tmp_path), "eth0")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "eth0" / DAY).symlink_to(tmp_path / "elsewhere")
    fd, _ = folder.create(1)
    os.close(fd)
    with pytest.raises(NotADirectoryError):
        folder.rename(1, STAMP, trusted=True)
    assert os.listdir(tmp_path / "elsewhere") == []
    assert (tmp_path / "eth0" / part_name(1)).exists()
