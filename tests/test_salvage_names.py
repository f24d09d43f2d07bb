"""Files of a dead run that are empty, foreign or not understood, and names that are taken."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from capd.archive.pieces import PIECE
from capd.archive.remains import MOST_STRETCHES
from capd.capture.folder import Folder
from tests.support.need import need
from tests.support.remnants import (
    COUNT,
    HEAD,
    NAME,
    SEQ,
    WHOLE,
    Place,
    closing,
    expected,
    frames,
    packet,
    page_padding,
    unclosed,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The folder of a ring."""
    return Place(tmp_path)


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,
        b"\0" * (3 * PIECE + 5),
        HEAD,
        HEAD + page_padding(len(HEAD)),
        (HEAD + page_padding(len(HEAD)))[:-3],
        HEAD + bytes(2 * PIECE),
        HEAD[:70] + bytes(4096),
        HEAD + closing(0),
        HEAD + closing(0) + page_padding(len(HEAD + closing(0))),
    ],
)
def test_nothing_was_in_it(place: Place, content: bytes) -> None:
    """Such a file goes."""
    assert place.salvage(content).what == "removed"
    assert place.files() == {}


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    "content",
    [
        b"\1",
        b"precious" * 1000,
        WHOLE[4:],
        b"\0" * 100 + WHOLE[100:],
        b"\xa1" + WHOLE[1:],
        HEAD + packet(0)[:-1],
        HEAD + b"\1" + bytes(5000),
        HEAD + bytes(5000) + b"\1",
        # The length of the head goes over a packet, and so it may be but the beginning of one.
        HEAD[:4] + struct.pack("=I", 60_000) + HEAD[8:] + packet(0),
        HEAD + bytes(3 * PIECE) + closing(0)[:-1],
        HEAD + closing(0, comment="5 packets malformed"),
        HEAD + b"\5" + packet(0)[1:],
        HEAD + b"\4" + packet(0)[1:],
    ],
)
def test_not_understood(place: Place, content: bytes) -> None:
    """Set aside as it is, never deleted."""
    outcome = place.salvage(content)
    assert (outcome.what, outcome.path) == ("set aside", place.damaged.name)
    assert place.files() == {place.damaged.name: content}
    assert place.salvage().what == "gone"


def test_damaged_in_too_many_places(place: Place) -> None:
    """More than makes sense: it is set aside whole."""
    content = HEAD + (packet(0) + bytes(16)) * (MOST_STRETCHES + 1) + packet(0)
    assert place.salvage(content).what == "set aside"
    assert place.files() == {place.damaged.name: content}


@pytest.mark.fault(29)
@pytest.mark.parametrize("taken", ["file", "link"])
def test_a_name_that_is_taken_stays(place: Place, taken: str) -> None:
    """Neither a segment nor what was set aside is ever overwritten."""
    for content, name in ((WHOLE, NAME), (b"precious", place.damaged.name)):
        target = place.path / name
        target.parent.mkdir(exist_ok=True)
        if taken == "file":
            target.write_bytes(b"before")
        else:
            target.symlink_to("nowhere")
        outcome = place.salvage(content)
        assert (outcome.what, outcome.path) == ("left alone", place.part.name)
        assert place.part.read_bytes()[: len(content)] == content
        assert target.is_symlink() if taken == "link" else target.read_bytes() == b"before"


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "folder", "pipe"])
@pytest.mark.security("links")
def test_other_things_under_the_name(place: Place, tmp_path: Path, kind: str) -> None:
    """Nothing that capd did not make is touched."""
    other = tmp_path / "other"
    if kind != "dangling":
        other.write_bytes(WHOLE + b"\0" * 50)
    if kind in {"link", "dangling"}:
        place.part.symlink_to(other)
    elif kind == "hard link":
        place.part.hardlink_to(other)
    elif kind == "folder":
        place.part.mkdir()
    else:
        os.mkfifo(place.part)
    before = place.part.lstat()
    outcome = place.salvage()
    assert outcome.what == "left alone"
    assert os.listdir(place.path) == [place.part.name]
    after = place.part.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert kind == "dangling" or other.read_bytes() == WHOLE + b"\0" * 50


@pytest.mark.security("links")
def test_a_link_in_place_of_the_dated_folder(place: Place, tmp_path: Path) -> None:
    """Is not followed; the file keeps its name, and the next try may fare better."""
    (tmp_path / "elsewhere").mkdir()
    (place.path / "2025-12-31").symlink_to(tmp_path / "elsewhere")
    assert place.salvage(WHOLE).what == "failed"
    assert os.listdir(tmp_path / "elsewhere") == []
    (place.path / "2025-12-31").unlink()
    assert place.salvage().path == NAME
    assert frames(place.result()) == expected(range(COUNT))


@pytest.mark.security("modes")
def test_folder_and_file_are_private(place: Place) -> None:
    """The dated folder is made as a worker makes it, and the next number is a new one."""
    place.salvage(WHOLE)
    assert stat.S_IMODE((place.path / NAME).parent.stat().st_mode) & 0o027 == 0
    assert Folder(str(place.path.parent), place.path.name).last_number(pytest.fail) == SEQ


def test_nothing_stays_in_memory(place: Place) -> None:
    """Neither the file's descriptor nor its pages."""
    before = os.listdir("/proc/self/fd")
    for content in (unclosed(3 * PIECE // 100), b"", b"x"):
        place.salvage(content)
    assert os.listdir("/proc/self/fd") == before
    assert place.salvage().what == "gone"
    with (place.path / NAME).open("rb") as file:
        argv = ["fincore", "--bytes", "--noheadings", "--output", "RES", file.name]
        need("fincore")
        cached = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert int(cached or 0) < PIECE // 16
