"""Coverage-guided fuzzing of what reads files and lines in Python: `tests/fuzz` in small."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fuzzing import engine
from tests.support import fuzzed
from tests.support.fuzzed import SECONDS, Missing

_TARGETS = ("salvage", "index", "config", "convert")
_SCRIPT = engine.ROOT / "tests" / "fuzz"


@pytest.mark.parametrize("target", _TARGETS)
def test_corpus(target: str) -> None:
    """What was found once, and what reaches everything."""
    assert fuzzed.replay(target)


@pytest.mark.parametrize("target", _TARGETS)
def test_fuzz(tmp_path: Path, target: str) -> None:
    """Nothing is found."""
    fuzzed.check(target, SECONDS, tmp_path)


@pytest.mark.parametrize(
    ("target", "missing", "finding"),
    [
        (
            "salvage",
            Missing("archive/salvage.py", "os.ftruncate(self._fd, length)", "pass"),
            "Assertion",
        ),
        (
            "index",
            Missing("index.py", "if end - at < _RECORD.size:", "if False:"),
            "unpack_from requires",
        ),
        ("config", Missing("config_problems.py", '"string_type": ', '"x": '), "Input should be"),
    ],
    ids=lambda value: value.check if isinstance(value, Missing) else None,
)
def test_a_missing_check_is_found(
    tmp_path: Path, target: str, missing: Missing, finding: str
) -> None:
    """And its input is kept."""
    result = fuzzed.broken(target, missing, tmp_path)
    assert len(result.findings) == 1
    assert finding in result.output


def test_the_command(tmp_path: Path) -> None:
    """A line for each target and 0; an input that is replayed; what is no target is said."""
    fuzzed.need_engine("words")
    done = subprocess.run(
        [_SCRIPT, "words", "--seconds", "1"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("words ")
    assert "0 findings" in done.stdout
    (path := tmp_path / "input").write_bytes(b"2h ago")
    subprocess.run([_SCRIPT, "words", "--replay", path], capture_output=True, check=True)
    wrong = subprocess.run([_SCRIPT, "nothing"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "no such target: nothing" in wrong.stderr
    assert os.access(_SCRIPT, os.X_OK)
