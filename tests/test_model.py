"""A capture directory against its model: `tests/model` in small, the same in every run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.copies import ROOT, Missing, copy_without
from tests.support.need import need, need_root

EXAMPLES = 12
# What must be missing for a known sequence to fail, and what is said then.
MISSING = {
    "behind a hole": (Missing("archive/remains.py", "and not self._go_on()"), "missing: 293"),
    "held": (
        Missing("daemon/custody.py", "return self._held.keeps(segment)", "return False"),
        "is held, and was deleted",
    ),
    "newest": (
        Missing("daemon/retention.py", "enumerate(aged[:-1])", "enumerate(aged)"),
        "the newest was deleted",
    ),
    "in turn": (
        Missing("daemon/retention.py", "in _oldest_first(rest)", "in [*_oldest_first(rest)][::-1]"),
        "had to go",
    ),
    "killed while writing": (
        Missing(
            "capture/writer.py",
            "segments.staging.write(segments.fd)",
            "self._page.commit(self.state.with_block(number, packed, before, before)); "
            "segments.staging.write(segments.fd)",
        ),
        "missing: 30",
    ),
    "killed while moving": (
        Missing(
            "archive/moving.py",
            "if not source.has(name.file, data.status)",
            "if remove(source, name)",
        ),
        "missing: 30",
    ),
}


@pytest.fixture(autouse=True)
def disks() -> None:
    """What a disk of its own needs."""
    need_root()
    need("mkfs.ext4")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What the model says of the capd in a folder."""
    argv = [sys.executable, "-m", "tests.modelling", *words]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr[-8000:])
    return done


def test_whatever_happens() -> None:
    """Nothing is lost, doubled or deleted out of turn; and something has happened."""
    done = run(ROOT, "--seed", "1", "--examples", str(EXAMPLES), "--as-found")
    assert not done.returncode
    for what in ("recovered", "workers killed"):
        assert re.search(rf"\b[1-9][0-9]* {what}", done.stdout)


def test_known_sequences() -> None:
    """They are right, too."""
    assert not run(ROOT, "--sequences", *MISSING).returncode


@pytest.mark.parametrize("sequence", MISSING)
def test_what_is_missing_is_found(tmp_path: Path, sequence: str) -> None:
    """The model is worth something: a copy of capd that is broken there fails."""
    missing, finding = MISSING[sequence]
    copy_without(missing, tmp_path)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    done = run(tmp_path, "--sequences", sequence)
    assert done.returncode == 1
    assert finding in done.stderr


def test_the_command() -> None:
    """It is one."""
    assert os.access(ROOT / "tests" / "model", os.X_OK)
