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
from capd.holds import encode, new_id
from capd.names import HOLD_FOLDER
from capd.units import SECOND
from tests.support.laying import HOLD, NOON, folder_of, with_hold


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With a hold."""
    return with_hold(tmp_path / "captures")


@pytest.mark.security("modes")
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
    """It holds nothing, and is in nobody's way."""
    part = directory / HOLD_FOLDER / "00000001.json.part"
    part.write_text(encode(HOLD)[:50])
    assert hold_folder.of(str(directory)) == hold_folder.Found((HOLD,), ())


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


def test_a_clock_that_was_ahead(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded after it was set right is not kept for a file of that time."""
    (directory / HOLD_FOLDER / "x.json").touch()
    monkeypatch.setattr(time, "time_ns", lambda: NOON)
    (doubt,) = hold_folder.of(str(directory)).doubts
    assert doubt.until == NOON


def test_no_folder_and_no_directory(tmp_path: Path) -> None:
    assert hold_folder.of(str(tmp_path)) == hold_folder.Found()
    with pytest.raises(StorageError, match=r"cannot read the holds in .*: No such file"):
        hold_folder.of(str(tmp_path / "none"))
    (tmp_path / HOLD_FOLDER).symlink_to("/")
    for call in (
        lambda: hold_folder.of(str(tmp_path)),
        lambda: hold_folder.make(str(tmp_path)),
    ):
        with pytest.raises(StorageError, match=r"Not a directory|symbolic links"):
            call()
