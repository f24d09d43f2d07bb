"""For which segment the hook's command is run next, and what becomes of failures."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from capd.catalog import Part, RingFiles, Segment
from capd.daemon.finished import LATE, Finished, moved_before, up_to_now
from capd.daemon.handed import Handed
from capd.daemon.handover import PAUSES, TRIES, Handover, Key, Task
from capd.daemon.outlook import Seen, key_of
from capd.names import COMPRESSED_SUFFIX, DAMAGED_SUFFIX, SEGMENT_SUFFIX, SUSPECT_SUFFIX
from capd.units import SECOND
from tests.support.roots import CHECKOUT

RAW = (SEGMENT_SUFFIX, SEGMENT_SUFFIX + ".idx")
COMPRESSED = (COMPRESSED_SUFFIX, COMPRESSED_SUFFIX + ".idx")
SUSPECT = (SUSPECT_SUFFIX, SUSPECT_SUFFIX + ".idx")


def segment(
    ring: str, seq: int, suffixes: tuple[str, ...] = RAW, stamp: int = 0, *, own: bool = True
) -> Segment:
    """A finished one."""
    return Segment(ring, seq, stamp or seq * 10, 1000, "1970-01-01", tuple(sorted(suffixes)), own)


def tasks(*keys: Key) -> list[Task]:
    return [Task("/c", segment(*key)) for key in keys]


def handover(*keys: Key, done: Handed | None = None) -> Handover:
    """One that has seen these, all of them ready."""
    found = Handover(done or Handed())
    look(found, *keys)
    return found


def look(found: Handover, *keys: Key) -> list[Key]:
    """Have it see these; what it says is gone."""
    rings = sorted({ring for ring, _ in keys})
    by_ring = [tasks(*sorted(key for key in keys if key[0] == ring)) for ring in rings]
    return [task.key for task in found.renew(tasks(*keys), by_ring)]


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
    assert sorted(look(found, ("a", 3))) == of("a", 1, 2)
    assert found.handed.has("a", 2)
    assert begun(found) == [("a", 3)]


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
        assert found.renew(tasks(("a", 7)), [tasks(("a", 7))], {"a"}) == []
    assert found.waiting == 3
    assert begun(found, parallel=9) == of("a", 7)
    for _ in range(3):
        found.tidy({}, {"a"})
    assert done.rings == {"a": ((1, 2), (4, 5))}
    look(found, *of("a", 3, 6, 7))
    found.tidy({"a": {3, 6, 7, 8}})
    assert done.rings == {"a": ((1, 2), (4, 5))}
    assert begun(found, parallel=9) == of("a", 3, 6)


def seen(directory: str, *segments: Segment, parts: Iterable[Key] = ()) -> Seen:
    """As a reaper has it."""
    rings: dict[str, RingFiles] = {}
    for one in segments:
        rings.setdefault(one.ring, RingFiles()).segments.append(one)
    for ring, seq in parts:
        rings.setdefault(ring, RingFiles()).parts.append(Part(seq, 1))
    return Seen(0, directory, rings, frozenset())


def ready(first: Seen, second: Seen | None = None, *, compress: bool, now: int = 0) -> list[int]:
    found = Finished().find(first, second, Handed(), now, compress=compress)
    return [task.key[1] for ring in found.ready for task in ring]


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_ready(compress: bool) -> None:
    """As it will stay: with an index, in one form, and in that which is wanted."""
    both = seen(
        "/c",
        segment("a", 1, RAW),
        segment("a", 2, COMPRESSED),
        segment("a", 3, (*RAW, *COMPRESSED)),
        segment("a", 4, (SEGMENT_SUFFIX,)),
        segment("a", 5, SUSPECT),
        segment("a", 6, (SEGMENT_SUFFIX,), own=False),
        segment("a", 7, (DAMAGED_SUFFIX,)),
    )
    assert ready(both, compress=compress) == ([2, 5, 6] if compress else [1, 2, 5, 6])


def test_what_moves_is_ready_when_it_has_moved() -> None:
    """Raw or compressed, and what is in both places for a moment."""
    first = seen("/c", *(segment("a", seq, COMPRESSED) for seq in (3, 4, 5)))
    second = seen("/d", segment("a", 1, RAW), *(segment("a", seq, COMPRESSED) for seq in (2, 3)))
    assert ready(first, second, compress=True) == [1, 2, 3]
    found = Finished().find(first, second, Handed(), 0, compress=True)
    assert {task.directory for ring in found.ready for task in ring} == {"/d"}
    assert sorted(seq for _, seq in found.open) == [1, 2, 3, 4, 5]


def test_one_that_nobody_can_index() -> None:
    """Is handed over as it is, later."""
    finished, files = Finished(), seen("/c", segment("a", 1, (SEGMENT_SUFFIX,)))
    for now, count in ((5, 0), (LATE, 0), (LATE + 5, 1)):
        assert len(finished.find(files, None, Handed(), now, compress=True).ready) == count


def test_what_is_looked_at() -> None:
    """Not what was handed over or deleted; and of the rest what `tidy` has to know."""
    files = seen("/c", *(segment("a", seq) for seq in range(1, 9)), parts=[("a", 9), ("b", 1)])
    files = files._replace(gone=frozenset({key_of(segment("a", 5))}))
    done = Handed({"a": ((1, 3), (6, 6))})
    found = Finished().find(files, None, done, 0, compress=False)
    assert sorted(found.open) == of("a", 4, 7, 8)
    assert found.present == {"a": {4, 7, 8, 9}, "b": {1}}


def test_a_new_hook() -> None:
    """All that is finished counts as handed over, and nothing that comes."""
    files = seen("/c", *(segment("a", seq) for seq in (4, 7)), parts=[("a", 8), ("b", 1)])
    assert up_to_now(files).rings == {"a": ((1, 7),), "b": ()}


def test_a_new_hook_with_a_second_directory() -> None:
    """What had moved there counts too, also where the capture directory is a new one."""
    first = seen("/c", segment("a", 7), parts=[("a", 8), ("b", 5), ("d", 1)])
    there = [segment(ring, seq) for ring in "abc" for seq in (2, 3, 4)]
    begun = up_to_now(first)
    moved_before(first, seen("/second", *there, segment("b", 5)), begun)
    assert begun.rings == {"a": ((1, 7),), "b": ((1, 4),), "c": ((1, 4),), "d": ()}


@pytest.mark.parametrize(
    "path", ["README.md", "DESIGN.md", "packaging/man/capd.toml.5", "systemd/capd.catalog"]
)
def test_pauses_are_as_told(path: str) -> None:
    """After each of the first failures; wherever they are told."""
    told = re.search(r"after (\d[\d, and]+\d) ?s", (CHECKOUT / path).read_text())
    assert told is not None
    assert [int(number) * SECOND for number in re.findall(r"\d+", told[1])] == [*PAUSES]
