"""Copies of capd that lack one check: a test that is worth something finds that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent


class Missing(NamedTuple):
    """A check that a copy of capd lacks."""

    where: str  # a file below capd/
    check: str
    instead: str = ""


def copy_without(missing: Missing, folder: Path) -> None:
    """Make `folder`/capd, without it and with something else in its place."""
    shutil.copytree(ROOT / "capd", folder / "capd", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "capd" / missing.where
    content = path.read_text()
    assert content.count(missing.check) == 1
    path.write_text(content.replace(missing.check, missing.instead))
