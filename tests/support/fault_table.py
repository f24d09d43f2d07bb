"""A plugin of pytest for the fault matrix: see `proofs.py`."""

from __future__ import annotations

import pytest

from tests.support.matrix import rows_asked_for
from tests.support.proofs import Line, Outcomes


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which rows are meant."""
    parser.addoption("--faults", default="", help="rows of the fault matrix; default: all")


def pytest_configure(config: pytest.Config) -> None:
    """The outcomes come together where the reports do."""
    asked = rows_asked_for(config.getoption("--faults").split())
    lines = [Line(str(row.number), row.fault, row.why, row.tests()) for row in asked]
    config.pluginmanager.register(Outcomes("fault", "fault matrix", lines), "fault-outcomes")
