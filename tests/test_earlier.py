"""The numbers of a ring whose folder is new: behind those of the second directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from capd.capture.earlier import PATIENCE
from capd.capture.folder import Folder
from capd.names import SegmentName
from tests.support.command import WITHOUT_POWERS
from tests.support.laying import NOON, lay
from tests.support.need import need

DAY = 86_400 * 10**9  # ns


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """What moved there before the first directory was lost."""
    for seq in (40, 41, 9):
        lay(tmp_path / "second", SegmentName("v0", NOON + seq, seq))
    (tmp_path / "first").mkdir()
    return tmp_path / "second"


def folder_beside(second: Path, ring: str = "v0") -> Folder:
    return Folder(str(second.with_name("first")), ring, second=str(second))


def test_a_new_folder(second: Path) -> None:
    """Goes on behind them; a ring that never had any begins."""
    assert folder_beside(second).last_number(pytest.fail) == 41
    assert folder_beside(second, "w0").last_number(pytest.fail) == 0


def test_a_folder_that_has_numbers(second: Path) -> None:
    """Knows them itself, and nothing else is asked."""
    lay(second.with_name("first"), SegmentName("v0", NOON, 7))
    (second / "v0").rename(second / "moved")
    (second / "v0").write_bytes(b"")
    assert folder_beside(second).last_number(pytest.fail) == 7


def test_what_cannot_be_looked_at(second: Path) -> None:
    """Is told, and numbers begin again."""
    (second / "v0").rename(second / "moved")
    (second / "v0").symlink_to(second / "moved")
    told: list[str] = []
    assert folder_beside(second).last_number(told.append) == 0
    assert [text.partition(": ")[0] for text in told] == [f"cannot read {second}/v0"]


def test_a_dated_folder_that_cannot_be_read(tmp_path: Path) -> None:
    """Of another owner, say: is told, and no reason not to begin."""
    for seq, stamp in ((7, NOON), (9, NOON + DAY)):
        path = lay(tmp_path, SegmentName("v0", stamp, seq)).parent
    code = (
        "import sys; from capd.capture.folder import Folder;"
        "print(Folder(sys.argv[1], 'v0').last_number(print))"
    )
    path.chmod(0)
    argv = [*WITHOUT_POWERS, sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    path.chmod(0o750)
    assert done.stdout.splitlines() == [
        f"cannot read {path}: Permission denied; numbers of segments in it may be used again",
        "7",
    ]


def test_a_directory_that_hangs(second: Path) -> None:
    """Is not waited for: packets come."""
    need("strace")
    hang = ("-e", f"inject=getdents64:delay_enter={round(4 * PATIENCE * 10**6)}")
    code = (
        "import os, sys, time; from capd.capture.folder import Folder; began = time.monotonic();"
        "print(Folder(sys.argv[1], 'v0', second=sys.argv[2]).last_number(print),"
        "time.monotonic() - began, flush=True); os._exit(0)"
    )
    argv = ["strace", "-fqq", "-o", "/dev/null", "-P", str(second / "v0"), *hang, sys.executable]
    argv += ["-c", code, str(second.with_name("first")), str(second)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    text, _, numbers = done.stdout.rstrip().rpartition("\n")
    assert text.startswith(f"cannot read {second}/v0: it does not answer; numbers")
    number, lasted = numbers.split()
    assert int(number) == 0
    assert PATIENCE <= float(lasted) < 4 * PATIENCE
