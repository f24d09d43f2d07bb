"""Holds on the disk: whole or not there, hostile files, and a reaper that is told of all of it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from capd import hold_folder
from capd.catalog import Catalog
from capd.errors import StorageError
from capd.holds import Hold, encode, new_id
from capd.names import HOLD_FOLDER
from capd.units import SECOND
from tests.support.laying import folder_of
from tests.support.need import need_root

NOON = 1_763_985_600 * SECOND
HOLD = Hold("0123abcd", NOON, NOON + SECOND, ("v0",), "case 42", NOON, None, "root")
FUTURE = time.time_ns() + 10**6 * SECOND


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With a hold."""
    path = tmp_path / "captures"
    path.mkdir(0o750)
    with folder_of(path) as folder:
        hold_folder.write(folder, HOLD)
    return path


def test_written_and_read(directory: Path) -> None:
    """For the group to read and to change, whatever the umask is."""
    folder = directory / HOLD_FOLDER
    assert hold_folder.of(str(directory)) == hold_folder.Found((HOLD,), ())
    assert [one.name for one in folder.iterdir()] == ["0123abcd.json"]
    assert stat.S_IMODE((folder / "0123abcd.json").stat().st_mode) == 0o640
    assert stat.S_IMODE(folder.stat().st_mode) == 0o770
    later = replace(HOLD, id=new_id(), made_at=NOON + 1)
    with folder_of(directory) as fd:
        with pytest.raises(FileExistsError):
            hold_folder.write(fd, replace(HOLD, reason="another"))
        hold_folder.write(fd, later)
        assert len(list(folder.iterdir())) == 2
        assert hold_folder.of(str(directory)).holds == (HOLD, later)
        assert hold_folder.remove(fd, HOLD.id)
        assert not hold_folder.remove(fd, HOLD.id)
    assert hold_folder.of(str(directory)).holds == (later,)
    assert Catalog(str(directory)).scan() == {}


def test_what_a_killed_writer_left(directory: Path) -> None:
    """It holds nothing, stands in nobody's way, and goes when it is old."""
    part = directory / HOLD_FOLDER / f"{HOLD.id}.json.part"
    part.write_text(encode(HOLD)[:50])
    assert hold_folder.of(str(directory)).doubts == ()
    with folder_of(directory) as fd:
        hold_folder.tidy(fd)
        assert part.exists()
        long_ago = time.time() - 7200
        os.utime(part, (long_ago, long_ago))
        other = part.with_name("notes.json.part")
        other.touch()
        os.utime(other, (long_ago, long_ago))
        hold_folder.tidy(fd)
    assert {one.name for one in part.parent.iterdir()} == {f"{HOLD.id}.json", other.name}


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "not JSON": (lambda path: path.write_text("{"), "it is not JSON"),
    "not text": (lambda path: path.write_bytes(bytes(range(256))), "it is not JSON"),
    "empty": (lambda path: path.touch(), "it is not JSON"),
    "a later format": (lambda path: path.write_text('{"format": 2}'), "its format is not 1"),
    "deep": (lambda path: path.write_text("[" * 60_000), "it is not JSON"),
    "of another id": (lambda path: path.write_text(encode(HOLD)), "the hold in it is 0123abcd"),
    "huge": (lambda path: path.write_bytes(bytes(2**16 + 1)), "longer than 65536 bytes"),
    "a link to a hold": (
        lambda path: path.symlink_to(f"{HOLD.id}.json"),
        "Too many levels of symbolic links",
    ),
    "a fifo": (os.mkfifo, "not a regular file"),
    "a folder": (lambda path: path.mkdir(), "not a regular file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_keeps_what_there_was(directory: Path, name: str) -> None:
    """Not what came after it; and the good hold beside it is what it was."""
    make, why = HOSTILE[name]
    path = directory / HOLD_FOLDER / "\x1b[2J.json"
    before = time.time_ns() - SECOND
    make(path)
    found = hold_folder.of(str(directory))
    assert found.holds == (HOLD,)
    (doubt,) = found.doubts
    assert why in doubt.why
    assert doubt.text.startswith(
        f"{directory}/{HOLD_FOLDER}/\\x1b[2J.json: it cannot be understood"
    )
    assert before < doubt.until <= time.time_ns()
    assert doubt.span == (0, doubt.until, ())


def test_no_folder_and_no_directory(tmp_path: Path) -> None:
    assert hold_folder.of(str(tmp_path)) == hold_folder.Found()
    with pytest.raises(StorageError, match=r"cannot read the holds in .*: No such file"):
        hold_folder.of(str(tmp_path / "none"))
    (tmp_path / HOLD_FOLDER).symlink_to("/")
    for call in (
        lambda: hold_folder.of(str(tmp_path)),
        lambda: hold_folder.make(str(tmp_path), require_mount=False),
    ):
        with pytest.raises(StorageError, match=r"Not a directory|symbolic links"):
            call()


def test_on_the_root_disk(tmp_path: Path) -> None:
    """Where `require_mount` says that there is to be another."""
    need_root()
    root = Path("/") if tmp_path.stat().st_dev != Path("/").stat().st_dev else tmp_path
    with pytest.raises(StorageError, match="it is on the root file system, and require_mount"):
        hold_folder.make(str(root), require_mount=True)
    assert not (root / HOLD_FOLDER).exists()
