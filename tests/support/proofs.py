"""A plugin of pytest: runs the tests that hold rows of a table, and tells what came of each row.

The rows themselves, and the marks by which tests name them, are in `matrix.py` and `claims.py`.
Works in one process and among those of pytest-xdist: a test takes its rows along in its report.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import pytest
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_Test = tuple[str, str]  # its file, and its name
_PROPERTY = "rows"
_WIDTH = 110
_STYLES = {"passed": "green", "failed": "red", "skipped": "yellow", "no test": "red"}


class Line(NamedTuple):
    """A row of the table; `why`: what of it no test holds, and the reason."""

    name: str
    text: str
    why: str
    tests: Sequence[Path]  # the files in which tests name it


class Outcomes:
    """What came of the tests of each row."""

    def __init__(self, marker: str, title: str, asked: Sequence[Line]) -> None:
        self._marker = marker
        self._title = title
        self._asked = asked
        self._names = {row.name for row in asked}
        self._tests: dict[str, dict[_Test, str]] = defaultdict(dict)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave the tests of these rows, and those of the table itself, which name no row."""
        chosen: list[pytest.Item] = []
        others: list[pytest.Item] = []
        for item in items:
            rows = self._rows_of(item)
            item.user_properties.append((_PROPERTY, sorted(rows)))
            of_table = not rows and item.get_closest_marker(self._marker) is not None
            (chosen if of_table or rows & self._names else others).append(item)
        items[:] = chosen
        config.hook.pytest_deselected(items=others)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test counts as failed or skipped if any step of it was."""
        for name, rows in report.user_properties:
            if name == _PROPERTY and isinstance(rows, list):
                for row in rows:
                    test = (report.location[0], report.nodeid)
                    before = self._tests[row].get(test, "passed")
                    self._tests[row][test] = _worse(before, report.outcome)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A row that is not held is a failure, whatever pytest thinks of a skip."""
        if hasattr(session.config, "workerinput") or session.exitstatus != pytest.ExitCode.OK:
            return  # one of several processes has not all the reports
        if any(self.outcome(row) not in ("passed", "not run") for row in self._asked):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """The table, behind all that pytest has to say."""
        yield
        outcomes = Counter(self.outcome(row) for row in self._asked)
        said = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        console = Console(width=_WIDTH, highlight=False, force_terminal=terminalreporter.hasmarkup)
        with console.capture() as capture:
            console.print(self._table())
        terminalreporter.write_sep("=", self._title)
        terminalreporter.write(capture.get())
        terminalreporter.write_line(f"{len(self._asked)} rows: {said}")

    def outcome(self, row: Line) -> str:
        """`passed` if every one of its tests has; `not run` if it says why there is none."""
        outcomes = self._tests[row.name].values()
        if not outcomes:
            return "not run" if row.why and not row.tests else "no test"
        return next((one for one in ("failed", "skipped") if one in outcomes), "passed")

    def _table(self) -> Table:
        table = Table("row", self._marker, "held by", "outcome", box=box.SIMPLE)
        for row in self._asked:
            outcome = self.outcome(row)
            held = ", ".join(_by_file(self._tests[row.name]))
            text = "; ".join(part for part in (held, row.why) if part)
            words = Text(outcome, style=_STYLES.get(outcome, ""))
            table.add_row(row.name, row.text, Text(text), words)
        return table

    def _rows_of(self, item: pytest.Item) -> set[str]:
        """The rows that a test holds."""
        return {str(row) for mark in item.iter_markers(self._marker) for row in mark.args}


def _worse(one: str, other: str) -> str:
    order = ("failed", "skipped", "passed")
    return min(one, other, key=order.index)


def _by_file(tests: Iterable[_Test]) -> list[str]:
    """The files of these tests, with how many cases each has."""
    counts = Counter(PurePath(file).stem for file, _ in tests)
    return [f"{file} ({count})" for file, count in counts.items()]
