"""What goes before the hook's command was run for it is told, once, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from capd.config import Hook
from capd.daemon import handed
from capd.daemon.outlook import Seen
from capd.daemon.porter import Porter, PorterPlan
from tests.support.handing import Yard, put
from tests.support.wait import wait_for


def wanted(porter: Porter, late: Seen) -> None:
    """Until it wants looks that are newer than that one."""
    wait_for(lambda: porter.wanted > late.at, 10, "another look to be wanted")


def test_what_is_deleted_between_two_daemons(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one knows what was waiting, and tells what went; the others have their turn."""
    yard = Yard(tmp_path)
    handed.write(str(yard.first), handed.Handed())
    put(yard.first, 1, 2, 3, 4)
    with yard.begun():
        assert wait_for(yard.handed_over, 10, "an event") == ["1"]
    for seq in (2, 3):
        next(yard.first.glob(f"v0/*/*_000000000{seq}.pcapng")).unlink()
    yard.porter = Porter(yard.spool)
    with yard.begun() as porter:
        yard.look()
        wait_for(lambda: porter.status and porter.status.missed == 2, 10, "it to be told")
        (name,) = yard.spool.names()
        yard.spool.answer(name, {"done": True})
        wait_for(lambda: yard.handed_over() == ["4"], 10, "the one that is left")
    assert "v0: segments 2 to 3 are gone" in caplog.text


def test_one_that_moves_between_two_looks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Looks at the second one that began before do not make it a missed one, however late."""
    yard = Yard(tmp_path, "second")
    second = tmp_path / "second"
    handed.write(str(yard.first), handed.Handed({"v0": ((1, 1),)}))
    put(yard.first, 2, 3)
    second.mkdir()
    with yard.begun() as porter:
        wait_for(lambda: porter.status and porter.status.waiting == 2, 10, "a look")
        before = [yard.seen(second) for _ in range(3)]
        put(second, 2)
        next(yard.first.glob("v0/*/*_0000000002.pcapng")).unlink()
        for late in before:
            porter.look(yard.seen(yard.first), late)
            wait_for(lambda: porter._known == porter._seen, 10, "a look at the first one")
            wanted(porter, late)
        yard.look()
        assert wait_for(yard.handed_over, 10, "an event") == ["2"]
        assert porter.wanted == 0
    assert "gone" not in caplog.text


def test_a_hook_that_is_taken_out_while_something_is_missed(tmp_path: Path) -> None:
    """No look is wanted for it any more."""
    yard = Yard(tmp_path)
    handed.write(str(yard.first), handed.Handed())
    put(yard.first, 1, 2)
    with yard.begun() as porter:
        wait_for(yard.handed_over, 10, "an event")
        next(yard.first.glob("v0/*/*_0000000002.pcapng")).unlink()
        yard.look()
        wait_for(lambda: porter.wanted, 10, "it to be missed")
        porter.adjust(PorterPlan(str(yard.first), "", compress=False, hook=Hook()))
        wait_for(lambda: porter.wanted == 0, 10, "no more interest")


def test_a_look_at_another_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Under the same name, that came late: what waits on this one is not missed there."""
    yard, aside, other = Yard(tmp_path), tmp_path / "aside", tmp_path / "other"
    handed.write(str(yard.first), handed.Handed())
    put(yard.first, 1, 2)
    (other / "v0").mkdir(parents=True)
    with yard.begun() as porter:
        wait_for(yard.handed_over, 10, "an event")
        yard.first.rename(aside)
        other.rename(yard.first)
        empty = [yard.seen(yard.first) for _ in range(3)]
        wait_for(lambda: porter._handover is None, 10, "nobody to know what was handed over")
        yard.first.rename(other)
        aside.rename(yard.first)
        wait_for(lambda: porter._handover is not None, 10, "the first disk again")
        for late in empty:
            porter.look(late, None)
            wait_for(lambda: porter._known == porter._seen, 10, "a look")
            wanted(porter, late)
        yard.look()
        wait_for(lambda: porter.wanted == 0, 10, "a look")
        assert porter.status is not None
        assert (porter.status.waiting, porter.status.missed) == (2, 0)
    assert "gone" not in caplog.text
