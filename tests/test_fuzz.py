"""Coverage-guided fuzzing of the C modules, and of what is quickly read: `tests/fuzz` in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzzing.engine import HARNESSES
from tests.support import fuzzed
from tests.support.fuzzed import BRIEFLY, SECONDS, Missing
from tests.test_sanitizers import sources

_TARGETS = {**dict.fromkeys(HARNESSES, SECONDS), "records": BRIEFLY, "words": BRIEFLY}


def test_every_module_has_a_harness() -> None:
    """A new C file is fuzzed too."""
    files = {path.name for made in sources().values() for path in made if path.suffix == ".c"}
    assert files == {Path(name).name for names in HARNESSES.values() for name in names}


@pytest.mark.parametrize("target", _TARGETS)
def test_corpus(target: str) -> None:
    """What was found once, and what reaches everything: in C as its slow twin has it."""
    assert fuzzed.replay(target)


@pytest.mark.parametrize("target", _TARGETS)
def test_fuzz(tmp_path: Path, target: str) -> None:
    """Nothing is found."""
    fuzzed.check(target, _TARGETS[target], tmp_path)


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
