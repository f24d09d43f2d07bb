"""A plugin of pytest for the claims about security: see `proofs.py`."""

from __future__ import annotations

import pytest

from tests.support.claims import claims_asked_for
from tests.support.marks import files_of
from tests.support.proofs import Line, Outcomes


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which claims are meant."""
    parser.addoption("--claims", default="", help="claims, divided by commas; default: all")


def pytest_configure(config: pytest.Config) -> None:
    """The outcomes come together where the reports do."""
    words = [word for word in config.getoption("--claims").split(",") if word]
    lines = [
        Line(claim.name, claim.text, claim.why, files_of("security", claim.name))
        for claim in claims_asked_for(words)
    ]
    config.pluginmanager.register(Outcomes("security", "security", lines), "security-outcomes")
