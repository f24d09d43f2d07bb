"""What tests say of themselves by marks with words in them: `@pytest.mark.fault(20)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.roots import CHECKOUT


class Marked(NamedTuple):
    """A place in a file of tests that names rows of a table."""

    path: Path
    rows: tuple[Any, ...]


@cache
def marked(marker: str) -> tuple[Marked, ...]:
    """Every mark of a row in the files of tests, in whichever way it is put on a test."""
    return tuple(
        Marked(path, rows)
        for path in sorted((CHECKOUT / "tests").glob("test_*.py"))
        if f"mark.{marker}" in (text := path.read_text())
        for rows in _marks(marker, ast.parse(text))
    )


def files_of(marker: str, row: object) -> list[Path]:
    """The files in which tests name this row."""
    return sorted({one.path for one in marked(marker) if row in one.rows})


def _marks(marker: str, tree: ast.Module) -> Iterator[tuple[Any, ...]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{marker}":
            yield tuple(ast.literal_eval(word) for word in node.args)
