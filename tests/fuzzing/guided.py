"""Runs one target by atheris, with capd's own Python watched.

python -m tests.fuzzing.guided TARGET [libFuzzer's arguments...]
"""

from __future__ import annotations

import importlib
import sys

import atheris

if __name__ == "__main__":
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["capd", "tomllib"]):
        target = importlib.import_module(f"tests.fuzzing.{name}")
    # To merge, libFuzzer has a shell run this again.
    sys.argv[0] = f"{sys.executable} -m tests.fuzzing.guided {name}"
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()
