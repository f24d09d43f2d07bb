"""A pytest plugin: what came of each test, a line each, added to a file that several runs share."""

from __future__ import annotations

import pytest

_WEIGHTS = ("passed", "skipped", "failed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Its name."""
    parser.addoption(
        "--tally", metavar="FILE", required=True, help="add what came of each test to this file"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that hears of all tests writes."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally(config.getoption("--tally")))


class Tally:
    """One word for each test: that of its beginning, of itself or of its end which weighs most."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take it down."""
        known = self._outcomes.get(report.nodeid, _WEIGHTS[0])
        self._outcomes[report.nodeid] = max(known, report.outcome, key=_WEIGHTS.index)

    def pytest_sessionfinish(self) -> None:
        """Add them."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.writelines(f"{outcome}\n" for outcome in self._outcomes.values())
