"""A plugin of pytest: runs the tests that hold the fault matrix, and tells what came of each row.

The rows themselves are in `matrix.py`.  Works in one process and among those of pytest-xdist: a
test takes its rows along in its report.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterable
from pathlib import PurePath

import pytest
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.support.matrix import Row, rows_asked_for

_Test = tuple[str, str]  # its file, and its name
_PROPERTY = "faults"
_WIDTH = 110
_STYLES = {"passed": "green", "failed": "red", "skipped": "yellow", "no test": "red"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which rows are meant."""
    parser.addoption("--faults", default="", help="rows of the fault matrix; default: all")


def pytest_configure(config: pytest.Config) -> None:
    """The outcomes come together where the reports do."""
    asked = rows_asked_for(config.getoption("--faults").split())
    config.pluginmanager.register(Outcomes(asked), "fault-outcomes")


def rows_of(item: pytest.Item) -> set[int]:
    """The rows that a test holds."""
    return {row for mark in item.iter_markers("fault") for row in mark.args}


class Outcomes:
    """What came of the tests of each row."""

    def __init__(self, asked: list[Row]) -> None:
        self._asked = asked
        self._numbers = {row.number for row in asked}
        self._tests: dict[int, dict[_Test, str]] = defaultdict(dict)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave the tests of these rows, and those of the matrix itself, which name no row."""
        chosen: list[pytest.Item] = []
        others: list[pytest.Item] = []
        for item in items:
            rows = rows_of(item)
            item.user_properties.append((_PROPERTY, sorted(rows)))
            of_matrix = not rows and item.get_closest_marker("fault") is not None
            (chosen if of_matrix or rows & self._numbers else others).append(item)
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
        """The matrix, behind all that pytest has to say."""
        yield
        outcomes = Counter(self.outcome(row) for row in self._asked)
        said = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        console = Console(width=_WIDTH, highlight=False, force_terminal=terminalreporter.hasmarkup)
        with console.capture() as capture:
            console.print(self._table())
        terminalreporter.write_sep("=", "fault matrix")
        terminalreporter.write(capture.get())
        terminalreporter.write_line(f"{len(self._asked)} rows: {said}")

    def outcome(self, row: Row) -> str:
        """`passed` if every one of its tests has; `not run` if it says why there is none."""
        outcomes = self._tests[row.number].values()
        if not outcomes:
            return "not run" if row.why and not row.tests() else "no test"
        return next((one for one in ("failed", "skipped") if one in outcomes), "passed")

    def _table(self) -> Table:
        table = Table("row", "fault", "held by", "outcome", box=box.SIMPLE)
        for row in self._asked:
            outcome = self.outcome(row)
            held = ", ".join(_by_file(self._tests[row.number]))
            text = "; ".join(part for part in (held, row.why) if part)
            words = Text(outcome, style=_STYLES.get(outcome, ""))
            table.add_row(str(row.number), row.fault, Text(text), words)
        return table


def _worse(one: str, other: str) -> str:
    order = ("failed", "skipped", "passed")
    return min(one, other, key=order.index)


def _by_file(tests: Iterable[_Test]) -> list[str]:
    """The files of these tests, with how many cases each has."""
    counts = Counter(PurePath(file).stem for file, _ in tests)
    return [f"{file} ({count})" for file, count in counts.items()]
