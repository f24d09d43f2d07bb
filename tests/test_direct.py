"""Reading and writing past the page cache: any steps give the same bytes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capd.archive.direct import STAGED, Reader, Writer
from capd.pages import PAGE
from tests.support.archive import RELAXED, Shelf, office, plan
from tests.support.disk import Faults, mounted
from tests.support.need import need, need_root

ROOM = 5 * PAGE
_sizes = st.integers(0, 40 * PAGE) | st.integers(0, 40).map(lambda pages: pages * PAGE)
_steps = st.lists(st.tuples(st.integers(0, ROOM), st.floats(0, 1)), max_size=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples."""
    return tmp_path_factory.mktemp("direct")


@contextmanager
def opened(path: Path, flags: int, *, direct: bool) -> Iterator[int]:
    """A descriptor."""
    fd = os.open(path, flags | (os.O_DIRECT if direct else 0), 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@given(size=_sizes, steps=_steps, direct=st.booleans())
@settings(deadline=None)
def test_a_window_moves_over_a_file(
    folder: Path, size: int, steps: list[tuple[int, float]], direct: bool
) -> None:
    """It has what was wanted, or the file's end, and never loses its place."""
    content = random.Random(size).randbytes(size)
    path = folder / "read"
    path.write_bytes(content)
    with opened(path, os.O_RDONLY, direct=direct) as fd:
        reader = Reader(fd, ROOM, direct=direct)
        offset = 0
        for wanted, share in steps:
            reader.fill(wanted)
            window = bytes(reader.window)
            assert reader.offset == offset
            assert window == content[offset : offset + len(window)]
            assert len(window) >= min(wanted, size - offset)
            assert reader.whole == (offset + len(window) == size)
            taken = int(share * len(window))
            reader.take(taken)
            offset += taken


@given(pieces=st.lists(st.integers(0, 3 * PAGE), max_size=20), large=st.integers(0, STAGED + 1))
@settings(deadline=None, max_examples=50)
def test_what_is_appended_is_in_the_file(folder: Path, pieces: list[int], large: int) -> None:
    """Whatever the pieces; to the byte."""
    dice = random.Random(large)
    contents = [dice.randbytes(size) for size in [*pieces, large, *pieces]]
    for direct in (True, False):
        path = folder / "written"
        path.unlink(missing_ok=True)
        with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, direct=direct) as fd:
            writer = Writer(fd, direct=direct)
            for content in contents:
                writer.append(content)
            assert writer.length == sum(map(len, contents))
            assert writer.finish() == writer.length
        assert path.read_bytes() == b"".join(contents)


def test_a_file_that_becomes_shorter(folder: Path) -> None:
    """Is an error, not an end that nobody notices, nor one that never comes."""
    path = folder / "cut"
    path.write_bytes(bytes(3 * PAGE))
    with opened(path, os.O_RDONLY, direct=True) as fd:
        reader = Reader(fd, ROOM, direct=True)
        os.truncate(path, PAGE + 10)
        with pytest.raises(OSError, match="shorter than it was"):
            reader.fill(3 * PAGE)


@pytest.mark.fault(34)
def test_a_file_system_without_it(tmp_path: Path) -> None:
    """ramfs refuses the opening; everything is done all the same."""
    need_root()
    with mounted("ramfs", tmp_path, 2**26) as disk:
        with pytest.raises(OSError, match="Invalid argument"):
            os.open(disk.path / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        (disk.path / "probe").unlink()
        shelf = Shelf(disk.path)
        shelf.add(1)
        with office(plan(disk.path)) as one:
            one.wait_report(compressed=1, backlog=0)
            assert not one.events
        shelf.check()


@pytest.mark.fault(34)
@pytest.mark.parametrize("call", ["preadv2", "pwrite64"])
def test_a_file_system_that_refuses_late(tmp_path: Path, call: str) -> None:
    """At the first read or write: then it goes on through the page cache, and drops it."""
    need("strace", "fincore")
    shelf = Shelf(tmp_path / "captures")
    shelf.directory.mkdir()
    shelf.add(1)
    log = tmp_path / "log"
    with office(plan(shelf.directory), load=None) as one:
        one.wait_report(backlog=1)
        with Faults(one.pid, call, "error=EINVAL:when=1", log, also="fcntl") as faults:
            one.load = RELAXED
            one.wait_report(compressed=1, backlog=0)
            assert len(faults.injected) == 1
        assert "F_SETFL" in log.read_text()
        assert not one.events
    shelf.check()
