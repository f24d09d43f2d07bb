"""The fault matrix: all rows are there, each is held by tests or says why not; and its table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.marks import marked
from tests.support.matrix import MATRIX
from tests.support.roots import CHECKOUT

ROWS = 55

THREE_TESTS = """
import pytest

@pytest.mark.fault({passing})
@pytest.mark.parametrize("case", [1, 2])
def test_good(case): pass

@pytest.mark.fault({failing})
def test_bad(): assert False

@pytest.mark.fault({skipped})
def test_lacking(): pytest.skip("no tool")

def test_of_no_row(): assert False
"""


@pytest.mark.fault
def test_every_row_is_held_or_says_why() -> None:
    assert [row.number for row in MATRIX] == [*range(1, ROWS + 1)]
    assert [row.number for row in MATRIX if not row.tests() and not row.why] == []
    assert all(row.fault and row.after for row in MATRIX)


@pytest.mark.fault
def test_no_test_names_a_row_that_there_is_not() -> None:
    rows = {row.number for row in MATRIX}
    assert [one for one in marked("fault") if not set(one.rows) <= rows] == []


@pytest.mark.fault
def test_design_names_what_differs() -> None:
    text = (CHECKOUT / "DESIGN.md").read_text().partition("## The fault matrix")[2]
    shown = re.findall(r"(?m)^\| (\d+) \|", text.partition("\n## ")[0])
    assert [int(row) for row in shown] == [row.number for row in MATRIX if row.why]


def run(below: Path, rows: str, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest with the plugin over three tests."""
    path = below / "test_three.py"
    path.write_text(THREE_TESTS.format(passing="20, 22", failing="31", skipped="33"))
    argv = [sys.executable, "-m", "pytest", "-p", "tests.support.fault_table", *words]
    argv += [f"--faults={rows}", "--rootdir", str(CHECKOUT), "-c", "pyproject.toml", str(path)]
    return subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("rows", "outcomes", "code"),
    [
        ("20 22", {"20": "passed", "22": "passed"}, 0),
        ("22 31", {"22": "passed", "31": "failed"}, 1),
        ("33", {"33": "skipped"}, 1),
        ("20 1", {"1": "no test", "20": "passed"}, 1),
    ],
)
def test_the_table_tells_what_came_of_each_row(
    tmp_path: Path, rows: str, outcomes: dict[str, str], code: int
) -> None:
    """And the exit code says whether all of them are held; a skip is no proof."""
    done = run(tmp_path, rows)
    assert done.returncode == code, done.stdout
    lines = done.stdout.partition(" fault matrix ")[2].splitlines()
    for row, outcome in outcomes.items():
        (line,) = [line for line in lines if line.startswith(f"  {row} ")]
        assert line.rstrip().endswith(outcome)
    assert f"{len(outcomes)} rows: " in done.stdout
    assert "test_of_no_row" not in done.stdout


def test_it_works_among_several_processes(tmp_path: Path) -> None:
    """A row's tests may run in any of them."""
    done = run(tmp_path, "20 31", "--numprocesses=2", "--dist=loadfile")
    assert done.returncode == 1, done.stdout
    assert "2 rows: 1 passed, 1 failed" in done.stdout
    assert "test_three (2)" in done.stdout
