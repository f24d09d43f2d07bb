"""Gaps of an interface, from successive looks at the links."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from capd.daemon.links import Link, Links
from capd.daemon.outages import REMEMBERED, Outages, Ring
from capd.losses import Loss

UP = Link("v0", 5, 1)
SET_DOWN = Link("v0", 5, 1, up=False, carrier=False)
NO_CARRIER = Link("v0", 5, 1, carrier=False)
RENAMED = Link("v9", 5, 1)
AGAIN = Link("v0", 6, 1)
OTHER = Link("v1", 7, 1)


@dataclass(frozen=True)
class Look:
    """At a moment: the links there are, when the ring of v0 was born, and what came of it."""

    links: tuple[Link, ...]
    born: int | None
    state: str
    begun: str = ""  # words of the cause
    gap: tuple[int, int] | None = None
    cause: str = ""  # words of the gap's


CASES = {
    "nothing": [Look((UP,), 1, "up"), Look((UP, OTHER), 1, "up")],
    "set down": [
        Look((UP,), 1, "up"),
        Look((SET_DOWN,), 1, "down", "ip link set v0 up"),
        Look((SET_DOWN,), 1, "down"),
        Look((UP,), 1, "up", gap=(20, 40), cause="set down"),
        Look((UP,), 1, "up"),
    ],
    "no carrier": [
        Look((UP,), 1, "up"),
        Look((NO_CARRIER,), 1, "down", "no carrier"),
        Look((UP,), 1, "up", gap=(20, 30), cause="no carrier"),
    ],
    "down from the start": [
        Look((NO_CARRIER,), 1, "down", "no carrier"),
        Look((UP,), 1, "up", gap=(10, 20), cause="no carrier"),
    ],
    "twice": [
        Look((UP,), 1, "up"),
        Look((SET_DOWN,), 1, "down", "set down"),
        Look((UP,), 1, "up", gap=(20, 30), cause="set down"),
        Look((SET_DOWN,), 1, "down", "set down"),
        Look((UP,), 1, "up", gap=(40, 50), cause="set down"),
    ],
    "deleted and made again: the gap ends with its new ring": [
        Look((UP,), 1, "up"),
        Look((), None, "gone", "deleted, or moved to another network namespace"),
        Look((AGAIN,), 35, "up", gap=(20, 35), cause="deleted, or moved"),
    ],
    "came back with its index, from another namespace": [
        Look((UP,), 1, "up"),
        Look((), None, "gone", "moved to another network namespace"),
        Look((UP,), 35, "up", gap=(20, 35), cause="moved"),
    ],
    "made again, and captured only at another look": [
        Look((UP,), 1, "up"),
        Look((), None, "gone", "deleted"),
        Look((AGAIN,), None, "gone"),
        Look((AGAIN,), 45, "up", gap=(20, 45), cause="deleted"),
    ],
    "made again, and down at first": [
        Look((UP,), 1, "up"),
        Look((), None, "gone", "deleted"),
        Look((Link("v0", 6, 1, carrier=False),), 35, "down", "no carrier"),
        Look((AGAIN,), 35, "up", gap=(20, 40), cause="namespace; then the link is down"),
    ],
    "deleted and made again between two looks": [
        Look((UP,), 1, "up"),
        Look((AGAIN,), 25, "up", gap=(20, 25), cause="deleted"),
    ],
    "the same, and down at first": [
        Look((UP,), 1, "up"),
        Look((Link("v0", 6, 1, carrier=False),), 25, "down", "no carrier"),
        Look((AGAIN,), 25, "up", gap=(20, 30), cause="took its name; then the link is down"),
    ],
    "another took its name, and nobody can open a ring": [
        Look((UP,), 1, "up"),
        Look((AGAIN, RENAMED), 1, "gone", "renamed to v9; another took its name"),
        Look((AGAIN, RENAMED), 35, "up", gap=(20, 35), cause="renamed to v9"),
    ],
    "first down, then deleted": [
        Look((UP,), 1, "up"),
        Look((SET_DOWN,), 1, "down", "set down"),
        Look((), None, "gone", "deleted"),
        Look((AGAIN,), 45, "up", gap=(20, 45), cause="v0 up; then the interface was deleted"),
    ],
    "down, and another ring meanwhile": [
        Look((UP,), 1, "up"),
        Look((SET_DOWN,), 1, "down", "set down"),
        Look((SET_DOWN,), 35, "down"),
        Look((UP,), 35, "up", gap=(20, 40), cause="set down"),
    ],
    "renamed and back": [
        Look((UP,), 1, "up"),
        Look((RENAMED,), None, "gone", "renamed to v9"),
        Look((UP,), 35, "up", gap=(20, 35), cause="renamed to v9"),
    ],
    "another ring is no gap": [Look((UP,), 1, "up"), Look((UP,), 25, "up")],
    "not wanted any more": [
        Look((UP,), 1, "up"),
        Look((UP,), None, "up"),
        Look((), None, "up"),
        Look((AGAIN,), 45, "up"),
    ],
}


@pytest.mark.parametrize("looks", CASES.values(), ids=CASES.keys())
def test_looks(looks: list[Look]) -> None:
    """Look by look, ten nanoseconds apart: what is told, and what is put on record."""
    outages = Outages()
    for now, look in enumerate(looks, 1):
        present = Links({link.name: link for link in look.links}, None)
        captured = {} if look.born is None else {"v0": look.born}
        begun, ended = outages.look(present, captured, now * 10)
        where = f"look {now}"
        assert [one.interface for one in begun] == ["v0"] * bool(look.begun), where
        assert all(look.begun in one.cause for one in begun), where
        assert [(one.since, one.until) for one in ended] == ([look.gap] if look.gap else []), where
        for one in ended:
            assert one == Loss("v0", "link", one.since, one.until, None, one.cause)
            assert look.cause in one.cause, where
        assert outages.state("v0") == look.state, where
        assert set(outages.since) == ({"v0"} if look.state != "up" else set()), where


@dataclass(frozen=True)
class Next:
    """What another daemon finds at 100, 120 and so on, whose rings are those of one before."""

    looks: list[tuple[tuple[Link, ...], int | None]]
    gap: tuple[int, int] | None = None
    cause: str = ""
    out: int | None = None  # since when v0 was out before; it was looked at last at 50
    lives: bool = True  # the ring


NEXT = {
    "all as it was": Next([((UP,), 1), ((UP,), 1)]),
    "up again": Next([((UP,), 1)], (20, 100), "when the daemon before ended", 20),
    "still down": Next([((SET_DOWN,), 1), ((UP,), 1)], (20, 120), "the interface was set", 20),
    "still gone": Next([((), None), ((AGAIN,), 115)], (20, 120), "the interface was del", 20),
    "set down meanwhile": Next([((SET_DOWN,), 1), ((UP,), 1)], (50, 120), "set down"),
    "deleted meanwhile": Next([((), None), ((AGAIN,), 115)], (50, 120), "was deleted"),
    "made again meanwhile": Next([((AGAIN,), 101)], (50, 101), "was deleted"),
    "made again, not captured yet": Next([((AGAIN,), 1), ((AGAIN,), 115)], (50, 120), "deleted"),
    "down, of a new ring": Next([((OTHER, SET_DOWN), 99), ((UP,), 99)], (99, 120), "set down"),
    "not wanted any more": Next([((UP,), None), ((), None), ((AGAIN,), 135)]),
    "its ring is no more": Next(
        [((), None), ((AGAIN,), None), ((AGAIN,), 135)], (20, 140), "was deleted", 20, lives=False
    ),
    "back, and its ring is no more": Next(
        [((AGAIN,), None), ((AGAIN,), 115)], (20, 120), "the daemon before", 20, lives=False
    ),
}


@pytest.mark.parametrize("case", NEXT.values(), ids=NEXT.keys())
def test_the_next_daemon(case: Next) -> None:
    """What changed while no daemon looked did so when the one before had looked last."""
    rings = {"v0": Ring(5, 1)} if case.lives else {}
    outages = Outages(rings, {"v0": case.out} if case.out else {}, 50)
    assert set(outages.since) == ({"v0"} if case.out else set())
    gaps = []
    for number, (present, born) in enumerate(case.looks):
        links = Links({link.name: link for link in present}, None)
        captured = {} if born is None else {"v0": born}
        gaps += outages.look(links, captured, 100 + number * 20)[1]
    assert [(gap.since, gap.until) for gap in gaps] == ([case.gap] if case.gap else [])
    assert all(case.cause in gap.cause for gap in gaps)
    assert outages.state("v0") == "up"


def test_clock_that_is_set_back_makes_no_gap_that_ends_before_it_begins() -> None:
    """It is on record all the same."""
    outages = Outages()
    outages.look(Links({"v0": UP}, None), {"v0": 1}, 1000)
    outages.look(Links({"v0": SET_DOWN}, None), {"v0": 1}, 2000)
    assert outages.since == {"v0": 2000}
    _, (gap,) = outages.look(Links({"v0": UP}, None), {"v0": 1}, 500)
    assert (gap.since, gap.until) == (2000, 2000)


def test_names_that_never_come_again_are_forgotten() -> None:
    """The newest are not; and an interface that was never captured is no outage."""
    outages = Outages()
    for number in range(REMEMBERED + 5):
        name = f"veth{number}"
        link = Link(name, number + 10, 1)
        outages.look(Links({name: link, "v1": OTHER}, None), {name: 1}, 10)
        begun, _ = outages.look(Links({}, None), {}, 20)
        assert [one.interface for one in begun] == [name]
    assert outages.state("veth4") == "up"
    assert outages.state("veth5") == outages.state(f"veth{REMEMBERED + 4}") == "gone"
    assert len(outages._rings) == REMEMBERED
