"""Coverage-guided fuzzing finds what is missing, and nothing else; `tests/fuzz` runs for longer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fuzzing.engine import HARNESSES, ROOT, TARGETS
from tests.support import fuzzed
from tests.support.copies import Missing
from tests.test_sanitizers import sources

_SCRIPT = ROOT / "tests" / "fuzz"


def test_every_module_has_a_harness() -> None:
    """A new C file is fuzzed too."""
    files = {path.name for made in sources().values() for path in made if path.suffix == ".c"}
    assert files == {Path(name).name for names in HARNESSES.values() for name in names}


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target: str) -> None:
    """What was found once, and what reaches everything: in C as its slow twin has it."""
    assert fuzzed.replay(target)


@pytest.mark.parametrize(
    ("target", "missing", "finding"),
    [
        (
            "pack",
            Missing("capture/_pack.c", " || stored > room - header.tp_mac"),
            "AddressSanitizer",
        ),
        ("pack", Missing("capture/_pack.c", "|| stamp >= walk->until"), "not so: stamp >="),
        ("match", Missing("_blocks.h", "if (*length > left)", "if (0)"), "AddressSanitizer"),
        ("match", Missing("query/_merge.c", " || length != entry->length"), "AddressSanitizer"),
        (
            "survey",
            Missing("_dissect.c", "at <= packet->captured && size", "size"),
            "AddressSanitizer",
        ),
        (
            "words",
            Missing("times.py", "if not 0 <= instant <= MAX:", "if not 0 <= instant:"),
            "Assertion",
        ),
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
