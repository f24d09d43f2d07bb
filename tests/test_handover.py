"""For which segment the hook's command is run next, and what becomes of failures."""

from __future__ import annotations

import re

import pytest

from capd.catalog import Segment
from capd.daemon import handed
from capd.daemon.handed import Handed
from capd.daemon.handover import PAUSES, TRIES, Handover, Key, Task
from capd.names import INDEX_SUFFIX, SEGMENT_SUFFIX
from capd.units import SECOND
from tests.support.roots import CHECKOUT


def tasks(*keys: Key) -> list[Task]:
    """Finished segments, with an index."""
    suffixes = SEGMENT_SUFFIX, SEGMENT_SUFFIX + INDEX_SUFFIX
    return [
        Task("/c", Segment(ring, seq, seq * 10, 1000, "1970-01-01", suffixes, own=True))
        for ring, seq in keys
    ]


def handover(*keys: Key, done: Handed | None = None) -> Handover:
    """One that has seen these, all of them ready."""
    found = Handover(done or Handed())
    look(found, *keys)
    return found


def look(found: Handover, *keys: Key) -> list[Key]:
    """Have it see these; what it says is gone."""
    rings = sorted({ring for ring, _ in keys})
    by_ring = [tasks(*sorted(key for key in keys if key[0] == ring)) for ring in rings]
    return found.renew(keys, by_ring)


def begun(found: Handover, now: int = 0, parallel: int = 1) -> list[Key]:
    """What is begun now."""
    keys = []
    while task := found.next(now, parallel):
        found.begin(task.key)
        keys.append(task.key)
    return keys


def of(ring: str, *seqs: int) -> list[Key]:
    return [(ring, seq) for seq in seqs]


def test_the_oldest_first() -> None:
    """Over all rings, in order within each, and no more than so many at once."""
    found = handover(*of("a", 3, 1, 2), *of("b", 2, 4))
    order = [("a", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 4)]
    assert begun(found, parallel=3) == order[:3]
    found.succeed(("a", 2))
    assert begun(found, parallel=3) == order[3:4]
    look(found, *of("a", 1, 3), *of("b", 2, 4))
    for key in (order[0], *order[2:4]):
        found.succeed(key)
    assert (found.waiting, found.running) == (1, 0)
    assert begun(found) == order[4:]
    found.succeed(order[4])
    assert found.handed.rings == {"a": ((1, 3),), "b": ((2, 2), (4, 4))}
    assert begun(found) == []


@pytest.mark.fault(49)
def test_while_nothing_works() -> None:
    """One at a time, ever less often; nothing is given up, and all are done in the end."""
    found = handover(*of("a", *range(1, 7)))
    now, tried = 0, []
    first = begun(found, now, parallel=2)
    for key in first:
        found.fail(key, now)
    for _ in range(40):
        assert begun(found, now + SHORT, parallel=2) == []
        now += PAUSES[-1]
        (key,) = begun(found, now, parallel=2)
        tried.append(key[1])
        failure = found.fail(key, now)
        assert not failure.given_up
    assert failure.pause == PAUSES[-1]
    assert tried[: TRIES - 1] == [1] * (TRIES - 1), "the same one a few times before the next"
    assert set(tried) == set(range(1, 7))
    now += PAUSES[-1]
    (key,) = begun(found, now, parallel=2)
    assert found.succeed(key)
    rest = [seq for seq in range(1, 7) if seq != key[1]]
    for seq in rest:
        assert begun(found, now) == [("a", seq)], "in order again, at once"
        assert not found.succeed(("a", seq))
    assert found.handed.rings == {"a": ((1, 6),)}


SHORT = PAUSES[0] - 1


@pytest.mark.fault(49)
def test_one_that_always_fails() -> None:
    """Is given up, once others were done after it had failed."""
    found = handover(*of("a", 1, 2, 3))
    now, order, given_up = 0, [], []
    while found.waiting:
        now += PAUSES[-1]
        for key in begun(found, now):
            order.append(key[1])
            if key[1] != 1:
                found.succeed(key)
            elif found.fail(key, now).given_up:
                given_up.append(key)
    assert order == [1, 1, 1, 1, 2, 1, 3]
    assert given_up == [("a", 1)]
    assert found.handed.rings == {"a": ((1, 3),)}


def test_what_is_gone() -> None:
    """Two looks have not seen it: one may have come while it got another name."""
    found = handover(*of("a", 1, 2, 3), *of("b", 1))
    assert begun(found) == [("a", 1)]
    assert look(found, ("a", 3)) == []
    assert look(found, *of("a", 2, 3)) == [("b", 1)], "what runs is not missed"
    assert look(found, ("a", 3)) == []
    found.release(("a", 1))
    assert look(found, ("a", 3)) == of("a", 1, 2)
    assert found.handed.rings == {}, "a number may come again"
    assert begun(found) == [("a", 3)]


def test_what_went_while_nobody_looked() -> None:
    """It was waiting, as the file says; one that nobody had seen is nothing's."""
    found = Handover(Handed({"a": ((1, 1), (4, 4))}, {"a": ((2, 2), (4, 5))}))
    assert found.waiting == 2
    for gone in ([], of("a", 2)):
        assert look(found, ("a", 5)) == gone
        found.tidy({"a": {5}})
    assert found.handed.rings == {"a": ((1, 4),)}
    assert found.handed.waiting == {"a": ((5, 5),)}


def test_it_is_in_the_file_until_it_is_told() -> None:
    """A daemon that is killed between the two looks leaves it to the next."""
    found = handover(*of("a", 1, 2))
    look(found, ("a", 2))
    assert (found.handed.waiting, found.misses) == ({"a": ((1, 2),)}, True)
    again = Handover(handed.decode(handed.encode(found.handed)))
    assert [look(again, ("a", 2)) for _ in range(3)] == [[], of("a", 1), []]
    assert (again.handed.waiting, again.misses) == ({"a": ((2, 2),)}, False)


def test_a_number_that_comes_again() -> None:
    """The newest went while nobody recorded: the next one has its number, and is another."""
    found = Handover(Handed({"a": ((1, 50),)}, {"a": ((51, 51),)}))
    for gone in ([], of("a", 51)):
        assert look(found) == gone
        found.tidy({"a": {50, 51}})  # which is being written
    look(found, ("a", 51))
    assert begun(found) == of("a", 51)
    assert found.handed.rings == {"a": ((1, 50),)}


def test_looks_at_one_directory_only() -> None:
    """What they do not see may be in the other: they are not counted."""
    found = handover(*of("a", 1, 2))
    for _ in range(3):
        assert found.renew(of("a", 2), [tasks(("a", 2))], whole=False) == []
        assert found.misses
    assert look(found, ("a", 2)) == []
    assert found.renew(of("a", 1, 2), [tasks(*of("a", 1, 2))], whole=False) == []
    assert look(found, ("a", 2)) == [], "it was seen meanwhile"
    assert look(found, ("a", 2)) == of("a", 1)


def test_an_absent_one_is_not_begun_again_and_again() -> None:
    """Until it is seen again, under its other name."""
    found = handover(*of("a", 1, 2))
    assert begun(found) == [("a", 1)]
    found.release(("a", 1), absent=True)
    assert begun(found) == [("a", 2)]
    found.release(("a", 2))
    look(found, *of("a", 1, 2))
    assert begun(found) == [("a", 1)]


@pytest.mark.parametrize("looks", [1, 2, 5])
def test_one_that_goes_while_it_is_run_for(looks: int) -> None:
    """It is told as gone once nobody is at it, and is not if it was done after all."""
    found = handover(*of("a", 1, 2))
    assert begun(found, parallel=2) == of("a", 1, 2)
    found.succeed(("a", 2))
    for _ in range(looks):
        assert look(found) == []
        found.tidy({"a": {3}})  # which is being written
    found.release(("a", 1), absent=True)
    gone = [look(found) for _ in range(3)]
    assert sorted(gone) == [[], [], of("a", 1)]
    found.tidy({"a": {3}})
    assert found.handed.rings["a"] == ((1, 2),)


def test_numbers_of_nothing() -> None:
    """Do not make the file grow; a file that is not finished yet is not nothing."""
    done = Handed({"a": ((1, 2), (5, 5), (8, 8))})
    found = Handover(done)
    present = {"a": {4, 9}}  # 4 is a part that somebody salvages
    found.tidy(present)
    found.tidy(present)
    assert done.rings["a"] == ((1, 3), (5, 8))
    for still in (True, False):  # it may be on its way from one name to the other
        found.tidy({"a": {9}})
        assert done.has("a", 4) is not still
    assert len(done.rings["a"]) == 1


def test_numbers_that_begin_anew() -> None:
    """As of a folder that somebody has removed: the new ones are handed over."""
    done = Handed({"a": ((1, 50),), "b": ((1, 2),)})
    found = Handover(done)
    found.tidy({"a": {50}, "b": {3}})
    found.tidy({"b": {3}})
    found.tidy({"a": {51}, "b": {3}})
    assert done.rings["a"] == ((1, 50),), "one look may be wrong"
    for _ in range(2):
        found.tidy({"a": {1}, "b": {3}})
    assert done.rings == {"b": ((1, 2),)}


def test_what_cannot_be_read_is_not_gone() -> None:
    """Nor do its numbers begin anew; and what can be read of it is handed over."""
    done = Handed({"a": ((1, 2), (4, 5))})
    found = handover(*of("a", 3, 6, 7), done=done)
    for _ in range(3):
        assert found.renew(of("a", 7), [tasks(("a", 7))], {"a"}) == []
    assert found.waiting == 3
    assert begun(found, parallel=9) == of("a", 7)
    for _ in range(3):
        found.tidy({}, {"a"})
    assert done.rings == {"a": ((1, 2), (4, 5))}
    look(found, *of("a", 3, 6, 7))
    found.tidy({"a": {3, 6, 7, 8}})
    assert done.rings == {"a": ((1, 2), (4, 5))}
    assert begun(found, parallel=9) == of("a", 3, 6)


@pytest.mark.parametrize(
    "path", ["README.md", "DESIGN.md", "packaging/man/capd.toml.5", "systemd/capd.catalog"]
)
def test_pauses_are_as_told(path: str) -> None:
    """After each of the first failures; wherever they are told."""
    told = re.search(r"after (\d[\d, and]+\d) ?s", (CHECKOUT / path).read_text())
    assert told is not None
    assert [int(number) * SECOND for number in re.findall(r"\d+", told[1])] == [*PAUSES]
