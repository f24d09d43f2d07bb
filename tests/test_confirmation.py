"""A file that the disk refused to confirm stays a suspect, whoever closes it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.archive.salvage import salvage
from capd.capture.outcomes import Left, Spare, Trouble
from capd.capture.state import SegmentState, State
from capd.confirmation import REFUSED, confirm
from capd.folders import DIRECTORY
from capd.names import SUSPECT_SUFFIX, part_name
from capd.units import SECOND
from tests.support.disk import Disk, Faults, mounted
from tests.support.keeping import HEADER, Bench, bench
from tests.support.need import need, need_root
from tests.support.remnants import WHOLE

SEQ = 7
STAMP = 1_767_225_599_000_000_042
SEGMENT = SegmentState(SEQ, len(HEADER), STAMP, STAMP, written=1)
SOON = SECOND // 50


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An ext4 of 8 MiB."""
    need("mount", "umount", "mkfs.ext4", "strace")
    need_root()
    with mounted("ext4", tmp_path, 8 * 2**20) as made:
        yield made


def refused(disk: Disk, calls: str = "fdatasync") -> Path:
    """The part file of a worker that the disk refused, and that died then."""
    with bench(disk.path, SOON) as it:
        spare = it.spare(SEQ)
        it.keeper.watch(spare.seq, spare.fd)
        with Faults(os.getpid(), calls, "error=EIO", disk.path.parent / "strace"):
            it.keeper.advance(len(HEADER))
            assert it.trouble().endswith(
                "did not confirm segment 7, a suspect now: Input/output error"
            )
        os.close(spare.fd)
        return it.folder / part_name(SEQ)


def begun(it: Bench, state: State) -> None:
    """The next worker begins; the file that it makes ahead goes."""
    it.keeper.begin(state)
    spare = it.first(Spare)
    assert isinstance(spare, Spare)
    it.drop(spare)


def test_the_next_worker_knows_of_the_one_it_goes_on_with(disk: Disk) -> None:
    """It ends it at its first sync, and the name says what it is."""
    refused(disk)
    with bench(disk.path, SOON) as it:
        begun(it, State(segment=SEGMENT))
        left = it.first(Left)
        assert isinstance(left, Left)
        it.keeper.watch(left.seq, left.fd)
        it.keeper.advance(len(HEADER))
        trouble = it.first(Trouble)
        assert isinstance(trouble, Trouble)
        assert trouble.renew
        it.keeper.finish(left.fd, SEGMENT, HEADER)
        assert it.closed(SEGMENT).name.endswith(SUSPECT_SUFFIX)


def test_the_next_worker_knows_of_the_one_without_a_name(disk: Disk) -> None:
    """It was complete when the worker died."""
    refused(disk)
    with bench(disk.path) as it:
        begun(it, State(closing=SEGMENT))
        assert it.closed(SEGMENT).name.endswith(SUSPECT_SUFFIX)
        assert it.trouble().endswith("a suspect now: it refused before")


def test_salvage_knows(disk: Disk) -> None:
    """Of what no worker went on with."""
    part = refused(disk)
    with part.open("r+b") as file:
        file.write(WHOLE)
        file.truncate()
    folder = os.open(part.parent, DIRECTORY)
    try:
        outcome = salvage(folder, part.parent.name, SEQ)
    finally:
        os.close(folder)
    assert outcome.what == "renamed"
    assert outcome.path.endswith(SUSPECT_SUFFIX)
    assert outcome.text.endswith("; the disk did not confirm it, so it is a suspect")


def test_a_disk_that_takes_no_mark(disk: Disk) -> None:
    """This worker knows all the same."""
    with bench(disk.path, SOON) as it:
        spare = it.spare(SEQ)
        it.keeper.watch(spare.seq, spare.fd)
        with Faults(os.getpid(), "fdatasync,fchmod", "error=EIO", disk.path.parent / "strace"):
            it.keeper.advance(len(HEADER))
            it.trouble()
        assert not os.fstat(spare.fd).st_mode & REFUSED
        assert it.close(spare, SEGMENT, HEADER).name.endswith(SUSPECT_SUFFIX)


def test_a_sound_file_is_left_as_it_is(tmp_path: Path) -> None:
    """Its mode among it."""
    path = tmp_path / "file"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        confirm(fd)
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o640
    finally:
        os.close(fd)
