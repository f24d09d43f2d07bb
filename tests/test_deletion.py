"""Deleting: only regular files of capd's own go, whatever happened since they were looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.catalog import Catalog, Segment, everything
from capd.daemon.deletion import Deletion
from capd.daemon.reaper import Reaper, Territory
from capd.daemon.retention import Policy, Victim
from capd.daemon.trusted_clock import TrustedClock
from capd.errors import StorageError
from capd.names import SegmentName
from tests.support.disk import mounted
from tests.support.need import need
from tests.support.wait import wait_for

STAMP = 1_790_000_000 * 10**9
NAME = SegmentName("eth0", STAMP, 1)
SIZE = 4096  # bytes that a file takes


def put(directory: Path, name: SegmentName, *suffixes: str) -> list[Path]:
    folder = directory / name.ring / name.folder
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name._replace(suffix=suffix).file}" for suffix in suffixes]
    for path in paths:
        path.write_bytes(bytes(SIZE))
    return paths


def seen(directory: Path) -> list[Segment]:
    return list(everything(Catalog(str(directory)).scan()))


def delete(directory: Path, segments: list[Segment]) -> Deletion:
    deletion = Deletion(str(directory))
    deletion.run([Victim(segment, "max_files") for segment in segments], lambda: False)
    return deletion


def test_all_files_of_a_segment(tmp_path: Path) -> None:
    """And the folder that held them, when nothing else is in it."""
    for seq in (1, 2):
        put(tmp_path, NAME._replace(seq=seq), ".pcapng", ".pcapng.idx", ".pcapng.zst")
    (tmp_path / "eth0" / "0000000003.pcapng.damaged").write_bytes(b"x")
    first, second, aside = seen(tmp_path)
    assert len(delete(tmp_path, [first]).gone) == 1
    assert seen(tmp_path) == [second, aside]
    assert len(delete(tmp_path, [second, aside]).gone) == 2
    assert list((tmp_path / "eth0").iterdir()) == []


def test_an_end(tmp_path: Path) -> None:
    """Between two segments."""
    put(tmp_path, NAME, ".pcapng")
    put(tmp_path, NAME._replace(seq=2), ".pcapng")
    deletion = Deletion(str(tmp_path))
    victims = [Victim(segment, "max_files") for segment in seen(tmp_path)]
    deletion.run(victims, lambda: bool(deletion.gone))
    assert [victim.segment.path for victim in deletion.gone] == [victims[0].segment.path]
    assert [segment.seq for segment in seen(tmp_path)] == [2]


def test_somebody_was_quicker(tmp_path: Path) -> None:
    """At the file, its folder: what was not deleted here is not said to be; nor refused."""
    put(tmp_path, NAME, ".pcapng", ".pcapng.idx")
    segments = seen(tmp_path)
    for path in put(tmp_path, NAME, ".pcapng"):
        path.unlink()
    for freed in (SIZE, 0):  # an index, then nothing
        deletion = delete(tmp_path, segments)
        assert (deletion.gone, deletion.refused) == ([], {})
        assert (deletion.vanished, deletion.freed) == (1, freed)
        assert not (tmp_path / "eth0" / NAME.folder).exists()


def test_compressed_since(tmp_path: Path) -> None:
    """In its other form the segment is there, whether the raw one was or not."""
    put(tmp_path, NAME, ".pcapng")
    segments = seen(tmp_path)
    (path,) = put(tmp_path, NAME, ".pcapng.zst")
    for freed in (SIZE, 0):
        deletion = delete(tmp_path, segments)
        assert (deletion.gone, deletion.vanished, deletion.freed) == ([], 1, freed)
    assert path.exists()
    assert len(delete(tmp_path, seen(tmp_path)).gone) == 1


def test_what_is_said_to_be_freed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is what was: the raw form went meanwhile, the compressed one goes here."""
    caplog.set_level("INFO")
    raw, _ = put(tmp_path, NAME, ".pcapng", ".pcapng.zst")
    segments = seen(tmp_path)
    raw.unlink()
    deletion = delete(tmp_path, segments)
    deletion.tell()
    assert deletion.freed == SIZE
    assert "deleted for max_files: segment 1" in caplog.text
    assert caplog.text.rstrip().endswith(": 4 KiB")


def test_moved_meanwhile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said of it, nor that nothing is left: the disk is looked at again at once."""
    need("mount")
    caplog.set_level("INFO")
    with mounted("tmpfs", tmp_path, 16 * SIZE) as disk:
        for seq in range(1, 7):
            put(disk.path, NAME._replace(seq=seq), ".pcapng")
        policy = Policy(min_free=disk.free + 2 * SIZE)
        reaper = Reaper(
            Territory(str(disk.path), require_mount=False, policy=policy), TrustedClock()
        )

        def waits(_: Segment) -> bool:
            """Between the look and the deletion somebody moves the oldest."""
            for path in sorted(disk.path.glob("eth0/*/*.pcapng"))[:-3]:
                shutil.move(path, tmp_path)
            return False

        reaper.waits = waits
        reaper.start()
        try:
            wait_for(lambda: reaper.outlook.segments == 3, 10, "a look at those that stay")
        finally:
            reaper.end()
            reaper.join()
    assert "deleted" not in caplog.text
    assert "nothing is left" not in caplog.text
    assert len(list(tmp_path.glob("*.pcapng"))) == 3


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A file elsewhere, which outlives everything."""
    path = tmp_path / "precious"
    path.write_bytes(b"precious")
    yield path
    assert path.read_bytes() == b"precious"


@pytest.mark.fault(37)
@pytest.mark.parametrize("what", ["link", "hard link", "folder", "fifo", "owner"])
@pytest.mark.security("links")
def test_replaced_since_it_was_seen(tmp_path: Path, precious: Path, what: str) -> None:
    directory = tmp_path / "captures"
    (path,) = put(directory, NAME, ".pcapng")
    segments = seen(directory)
    path.unlink()
    if what == "link":
        path.symlink_to(precious)
    elif what == "hard link":
        os.link(precious, path)
    elif what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
        os.chown(path, 12345, 12345)
    before = path.lstat()
    deletion = delete(directory, segments)
    assert path.lstat() == before
    if what in ("hard link", "owner"):
        reason = "it is not capd's any more, or has another link"
        assert deletion.refused == {reason: str(path)}
        assert deletion.gone == []


@pytest.mark.fault(37)
@pytest.mark.parametrize("level", ["ring", "day"])
@pytest.mark.security("links")
def test_a_link_in_place_of_a_folder(tmp_path: Path, level: str) -> None:
    """It leads to a file of the right name, which stays."""
    directory, other = tmp_path / "captures", tmp_path / "other"
    put(directory, NAME, ".pcapng")
    (theirs,) = put(other, NAME, ".pcapng")
    segments = seen(directory)
    folder = directory / "eth0" if level == "ring" else directory / "eth0" / NAME.folder
    folder.rename(tmp_path / "away")
    folder.symlink_to(other / folder.relative_to(directory))
    deletion = delete(directory, segments)
    assert theirs.exists()
    assert deletion.gone == []
    assert len(deletion.refused) == 1


def test_a_read_only_disk(tmp_path: Path) -> None:
    """Said once for all; the directory that is gone is an error."""
    need("mount", "mkfs.ext4")
    with mounted("ext4", tmp_path, 16 * 2**20) as disk:
        for seq in (1, 2, 3):
            put(disk.path, NAME._replace(seq=seq), ".pcapng")
        segments = seen(disk.path)
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        deletion = delete(disk.path, segments)
        assert deletion.gone == []
        assert deletion.refused == {"Read-only file system": f"{disk.path}/{segments[0].path}"}
    with pytest.raises(StorageError, match=r"cannot open .*/absent: No such file"):
        delete(tmp_path / "absent", segments)
