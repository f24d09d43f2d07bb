"""A move that is killed at any of its system calls, or refused it: the segment is whole, once."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from capd.archive.cleaning import tidy
from capd.catalog import Catalog, Segment, everything
from capd.index import encode
from tests.support.archive import SECTION, Shelf, read_back
from tests.support.compressing import examine_file
from tests.support.disk import Faults
from tests.support.moving_child import move_one
from tests.support.need import need, need_root

pytestmark = pytest.mark.fault(49)

CALLS = "openat,preadv2,preadv,pwrite64,ftruncate,fsync,fdatasync,mkdirat,renameat,unlinkat"
NOTHING = "delay_enter=0"


class Move:
    """One segment, again and again."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second, self.log = folder / "captures", folder / "archive", folder / "log"
        self.first.mkdir()
        shelf = Shelf(self.first)
        path = shelf.add(1, 2 * SECTION)
        self.content = shelf.contents[1]
        Path(f"{path}.idx").write_bytes(encode(examine_file(path, SECTION)))
        self.first.rename(folder / "model")
        self._model = folder / "model"

    def begin(self) -> None:
        """It is in the first directory, and the second is empty."""
        for directory in (self.first, self.second):
            shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self._model, self.first)
        self.second.mkdir()

    def run(self, calls: str, how: str) -> str:
        """What came of a move while calls fail; "" if the process died."""
        self.begin()
        words = [str(self.first), str(self.second)]
        argv = [sys.executable, "-m", "tests.support.moving_child", *words]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            with Faults(child.pid, calls, how, self.log):
                said, _ = child.communicate("\n", timeout=60)
        assert bool(said) == (child.returncode == 0)
        return said.strip()

    def made(self) -> Counter[str]:
        """The calls that were made, by name."""
        return Counter(re.findall(r"^\d+ +(\w+)\(", self.log.read_text(), re.MULTILINE))

    def check(self) -> None:
        """A whole segment is in one of both or in both; moved again, it is in the second only."""
        first, second = self.found(self.first), self.found(self.second)
        assert first or second
        for directory, segments in ((self.first, first), (self.second, second)):
            for one in segments:
                assert one.indexed or directory == self.first
                assert (directory / one.path).read_bytes() == self.content
        tidy(str(self.first))
        tidy(str(self.second))
        if first:
            assert first[0].indexed
            assert move_one(first[0], str(self.first), str(self.second))
        assert [path for path in self.first.rglob("*") if path.is_file()] == []
        (moved,) = self.found(self.second)
        assert read_back(self.second / moved.path) == self.content
        assert len([path for path in self.second.rglob("*") if path.is_file()]) == 2

    def found(self, directory: Path) -> list[Segment]:
        """The segments in a directory."""
        return list(everything(Catalog(str(directory)).scan()))


@pytest.fixture
def a_move(tmp_path: Path) -> Move:
    """To be made."""
    need("strace")
    need_root()
    return Move(tmp_path)


@pytest.mark.fault(20)
def test_killed_at_every_call(a_move: Move) -> None:
    """Before the n-th of each name, for every n."""
    assert a_move.run(CALLS, NOTHING) == "moved"
    a_move.check()
    counts, deaths = a_move.made(), 0
    for name, count in counts.items():
        for number in range(1, count + 1):
            deaths += not a_move.run(name, f"signal=KILL:when={number}")
            a_move.check()
    print(f"{deaths} deaths among {counts}")
    assert deaths == counts.total()
    assert counts.keys() >= {"pwrite64", "ftruncate", "fsync", "mkdirat", "renameat", "unlinkat"}


@pytest.mark.fault(33)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS"])
def test_refused_every_call(a_move: Move, error: str) -> None:
    """The n-th of each name, for every n: the segment stays, and moves the next time."""
    a_move.run(CALLS, NOTHING)
    counts, refused = a_move.made(), 0
    for name, count in counts.items():
        for number in range(1, count + 1):
            said = a_move.run(name, f"error={error}:when={number}")
            assert said in ("refused", "moved"), (name, number)
            refused += said == "refused"
            a_move.check()
    print(f"{refused} refused among {counts}")
    assert refused > counts.total() // 2
