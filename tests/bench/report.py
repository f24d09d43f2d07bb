"""What a benchmark has measured, as JSON: where, with which versions, by which command, all rounds.

Owns the form of that file.  What stands in "results" is the part's own.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.bench import machine

Figures = dict[str, float]


def report(module: str, directory: Path, versions: dict[str, str]) -> dict[str, Any]:
    """The beginning: everything but the results."""
    return {
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.describe(directory),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "load before": os.getloadavg(),
        "versions": versions,
        "notes": [],
    }


def heading(about: dict[str, Any]) -> list[str]:
    """The lines that a table begins with."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return [*about["machine"], versions, *about["notes"]]


def save(file: Path | None, about: dict[str, Any], results: Any) -> None:
    """Everything so far, if a file is wanted; what was there is replaced at once or not at all."""
    if file is None:
        return
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(about | {"results": results}, indent=1, default=vars) + "\n")
    new.replace(file)


def rounds(values: Iterable[float]) -> dict[str, Any]:
    """All of them, with their median and spread."""
    found = list(values)
    return {"rounds": found, **spread(found)}


def spread(values: Iterable[float]) -> Figures:
    """The median, and the smallest and the largest."""
    found = list(values)
    return {"median": statistics.median(found), "least": min(found), "most": max(found)}
