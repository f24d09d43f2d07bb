"""A refusal of the second directory that was has nothing go in the one that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from capd.daemon.upkeep import was_refused
from capd.messages import ArchiveReport, Load
from tests.support.archive import Shelf, office, plan
from tests.support.disk import Faults
from tests.support.need import need
from tests.support.wait import wait_for

NOTHING = ArchiveReport(1, 0, 0, 0, 0, 0, 0, paused=False, level=0)
FREE = Load(0.0, late=False, reserve=0)


def said(refused: int, second: str) -> ArchiveReport:
    """What the archive process says."""
    return NOTHING._replace(refused=refused, second=second)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (said(0, "/new"), said(1, "/new"), True),
        (said(1, "/new"), said(1, "/new"), False),
        (said(0, "/old"), said(1, "/old"), False),
        (said(0, "/old"), said(1, "/new"), False),
        (said(0, ""), said(1, "/new"), False),
        (said(3, "/new"), said(0, "/new"), False),
        (said(3, "/new"), said(1, "/new"), True),
        (None, said(1, "/new"), False),
        (said(0, ""), said(1, ""), True),
    ],
    ids=["once", "not again", "another", "changed", "added", "anew", "another process", "first",
         "another version"],
)  # fmt: skip
def test_whose_refusal_it_is(
    before: ArchiveReport | None, now: ArchiveReport, *, expected: bool
) -> None:
    assert was_refused(before, now, "/new") == expected


def test_a_move_that_is_under_way(tmp_path: Path) -> None:
    """It fails when another directory is in force: that is told, and not counted."""
    need("strace")
    first, second, other = (tmp_path / name for name in ("captures", "archive", "other"))
    first.mkdir()
    second.mkdir()
    shelf = Shelf(first)
    for seq in (1, 2):
        shelf.add(seq)
    with office(plan(first, second="", compress=False), load=FREE) as one:
        one.wait_idle()
        late = "error=ENOSPC:delay_enter=1000000"
        with Faults(one.pid, "pwrite64", late, tmp_path / "log"):
            one.adjust(second=str(second))
            wait_for(lambda: list(second.rglob("*.part")), 20, "a start")
            one.adjust(second=str(other))
            (complaint,) = wait_for(lambda: one.events, 20, "a complaint")
            assert "No space left on device" in complaint.text
            assert one.wait_report(second=str(other)).refused == 0
