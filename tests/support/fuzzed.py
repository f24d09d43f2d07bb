"""The coverage-guided fuzzers for tests: over capd, and over copies that lack one check."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from tests.fuzzing import engine
from tests.fuzzing.engine import GUIDED, ROOT, Result
from tests.support.copies import Missing, copy_without
from tests.support.need import lacking, need

MOST_SECONDS = 240  # until a missing check must have been found, beside other tests


def need_engine(target: str) -> None:
    """What runs it is installed."""
    if target not in GUIDED:
        need("clang")
    elif importlib.util.find_spec("atheris") is None:
        lacking("not installed: atheris")


def replay(target: str) -> int:
    """Every seed and every file of the corpus, as its property wants it; gives how many."""
    module = importlib.import_module(f"tests.fuzzing.{target}")
    inputs = [*module.seeds(), *(path.read_bytes() for path in engine.corpus(target))]
    for content in inputs:
        module.check(content)
    return len(inputs)


def broken(target: str, missing: Missing, folder: Path) -> Result:
    """What comes of fuzzing a copy of capd without it, and with something else in its place."""
    need_engine(target)
    copy_without(missing, folder)
    if target in GUIDED:
        (folder / "tests").symlink_to(ROOT / "tests")
        begin = [sys.executable, "-m", "tests.fuzzing.guided", target]
    else:
        begin = [str(engine.build(target, folder, folder / "capd"))]
    return engine.fuzz(target, [*begin, "-seed=1"], MOST_SECONDS, folder, cwd=folder)
