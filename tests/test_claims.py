"""The claims about security: each is held by tests or says why not, and no test claims another."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.claims import CLAIMS
from tests.support.marks import files_of, marked
from tests.support.roots import CHECKOUT


@pytest.mark.security
def test_every_claim_is_held_or_says_why() -> None:
    assert [one.name for one in CLAIMS if not (files_of("security", one.name) or one.why)] == []
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)


@pytest.mark.security
def test_no_test_names_a_claim_that_there_is_not() -> None:
    names = {claim.name for claim in CLAIMS}
    assert [one for one in marked("security") if not set(one.rows) <= names] == []


@pytest.mark.security
def test_design_tells_all_of_them() -> None:
    text = (
        (CHECKOUT / "DESIGN.md").read_text().partition("\n## Security\n")[2].partition("\n## ")[0]
    )
    assert re.findall(r"(?m)^\| `([^`]+)` \|", text) == [claim.name for claim in CLAIMS]


def test_an_unknown_claim() -> None:
    argv = [sys.executable, "-m", "tests.support.claims", "nonsense"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no claim: nonsense; there are: rights, ")
