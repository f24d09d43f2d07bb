"""What retention takes: the oldest, whatever the clock did, and never the newest of a ring."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capd.catalog import Part, RingFiles, Segment
from capd.daemon.retention import Choice, Kept, Limits, Need, Policy, ages, choose
from capd.numbering import CLOCK_SET

HOUR = 3600 * 10**9
NOW = 1_790_000_000 * 10**9
YEAR = 365 * 24 * HOUR
NOTHING = Need(0, "max_usage")


def segment(ring: str, seq: int, stamp: int, size: int = 100, *, own: bool = True) -> Segment:
    return Segment(ring, seq, stamp, size, "2026-09-21", (".pcapng",), own)


def ring(name: str, stamps: list[int], size: int = 100, parts: int = 0) -> dict[str, RingFiles]:
    """A ring's files, numbered from 1, the last hour apart from now if no stamps are given."""
    segments = [segment(name, seq, stamp, size) for seq, stamp in enumerate(stamps, 1)]
    return {name: RingFiles(segments, [Part(len(stamps) + 1, parts)] if parts else [])}


def hourly(count: int, newest: int = NOW - HOUR) -> list[int]:
    return [newest - HOUR * back for back in reversed(range(count))]


def taken(choice: Choice) -> list[tuple[str, int]]:
    return [(victim.segment.ring, victim.segment.seq) for victim in choice.victims]


def rules(choice: Choice) -> list[str]:
    return [victim.rule for victim in choice.victims]


def test_no_rule_takes_nothing() -> None:
    assert choose(ring("a", hourly(9)), NOTHING, Policy(), NOW) == Choice([], 0)


def test_space_takes_the_oldest_of_all_rings() -> None:
    """And no more than is needed, by its own arithmetic."""
    rings = ring("a", hourly(4)) | ring("b", hourly(4, NOW - 90 * 60 * 10**9))
    choice = choose(rings, Need(250, "min_free"), Policy(), NOW)
    assert taken(choice) == [("b", 1), ("a", 1), ("b", 2)]
    assert rules(choice) == ["min_free"] * 3
    assert choice.missing == 0


@pytest.mark.fault(37)
def test_the_newest_of_each_ring_stays() -> None:
    """Whatever is asked for; what is missing then is told."""
    rings = ring("a", hourly(3)) | ring("b", [NOW - YEAR]) | ring("c", [])
    policy = Policy(max_age=1, max_size=1, max_files=1, rings={"b": Limits(1, 1)})
    choice = choose(rings, Need(1000, "max_usage"), policy, NOW)
    assert taken(choice) == [("a", 1), ("a", 2)]
    assert choice.missing == 800


def test_max_age() -> None:
    """By the first packet; of everything, or stricter of one interface."""
    rings = ring("a", hourly(5)) | ring("b", hourly(5))
    policy = Policy(max_age=4 * HOUR, rings={"b": Limits(max_age=2 * HOUR), "a": Limits(9 * HOUR)})
    choice = choose(rings, NOTHING, policy, NOW)
    assert taken(choice) == [("a", 1), ("b", 1), ("b", 2), ("b", 3)]
    assert set(rules(choice)) == {"max_age"}


def test_max_size_of_an_interface() -> None:
    """With what is being written; the others are not touched."""
    rings = ring("a", hourly(5), parts=50) | ring("b", hourly(5))
    choice = choose(rings, NOTHING, Policy(rings={"a": Limits(max_size=350)}), NOW)
    assert taken(choice) == [("a", 1), ("a", 2)]
    assert set(rules(choice)) == {"max_size of the interface"}


def test_max_size_and_max_files() -> None:
    """Of everything, what is being written included in the size but not in the files."""
    rings = ring("a", hourly(5), parts=60) | ring("b", hourly(5, NOW - HOUR // 2))
    assert taken(choose(rings, NOTHING, Policy(max_size=900), NOW)) == [("a", 1), ("b", 1)]
    assert taken(choose(rings, NOTHING, Policy(max_files=9), NOW)) == [("a", 1)]
    both = choose(rings, Need(1, "max_usage"), Policy(max_size=1000, max_files=8), NOW)
    assert rules(both) == ["max_size", "max_files"]


def test_what_one_rule_takes_counts_for_the_others() -> None:
    rings = ring("a", hourly(6))
    policy = Policy(max_age=4 * HOUR, max_files=4)
    assert rules(choose(rings, Need(200, "min_free"), policy, NOW)) == ["max_age", "max_age"]


def test_interfaces_that_are_not_captured() -> None:
    """Their folders go by the names in the config: an exact one before a pattern."""
    names = (("b", Limits(max_size=100)), ("*", Limits(max_size=300)))
    policy = Policy(rings={"c": Limits()}, names=names)
    rings = ring("a:1", hourly(4)) | ring("b", hourly(4)) | ring("c", hourly(4))
    found = taken(choose(rings, NOTHING, policy, NOW))
    assert found == [("a:1", 1), ("b", 1), ("b", 2), ("b", 3)]


def test_what_is_not_capds_neither_goes_nor_counts() -> None:
    """A rule that somebody's file breaks must not cost capd's."""
    files = RingFiles([segment("a", seq, NOW - HOUR, own=seq != 1) for seq in (1, 2, 3, 4)])
    choice = choose({"a": files}, NOTHING, Policy(max_files=3, max_size=300, max_age=1), NOW)
    assert taken(choice) == [("a", 2), ("a", 3)]
    assert choose({"a": files}, NOTHING, Policy(max_files=3, max_size=300), NOW).victims == []


CLOCKS = {
    "back a year": ([NOW - HOUR + YEAR, NOW - HOUR // 2 + YEAR, NOW - 9, NOW - 5], NOW),
    "back a year, and right again": ([NOW - 9, NOW - 8, NOW - YEAR, NOW - YEAR + 1, NOW - 1], NOW),
    "from 1970": ([5, 6, 7, NOW - 9, NOW - 8], NOW),
    "only 1970": ([5, 6, 7, 8], 9),
    "1970 in between": ([NOW - 9, NOW - 8, 4, 5, NOW - 3], NOW),
    "a year ahead for a while": ([NOW - 9, NOW + YEAR, NOW + YEAR + 1, NOW - 3], NOW),
}


@pytest.mark.fault(37)
@pytest.mark.parametrize(("stamps", "now"), CLOCKS.values(), ids=CLOCKS)
def test_a_clock_that_was_wrong(stamps: list[int], now: int) -> None:
    """The lowest number goes first, and nothing looks old that is young."""
    rings = ring("a", stamps)
    choice = choose(rings, Need(250, "max_usage"), Policy(), now)
    assert taken(choice) == [("a", 1), ("a", 2), ("a", 3)]
    assert choose(rings, NOTHING, Policy(max_age=HOUR * 2), now).victims == []


def test_a_wrong_clock_keeps_nothing_for_ever() -> None:
    """What is stamped in the future ages from the next segment on."""
    stamps = [NOW + YEAR, NOW - 5 * HOUR, NOW - 4 * HOUR, NOW - HOUR]
    choice = choose(ring("a", stamps), NOTHING, Policy(max_age=3 * HOUR), NOW)
    assert taken(choice) == [("a", 1), ("a", 2), ("a", 3)]


def test_rings_without_a_clock_take_turns() -> None:
    rings = ring("a", [10, 30, 50, 70]) | ring("b", [20, 40, 60, 80])
    found = taken(choose(rings, Need(400, "max_usage"), Policy(), 90))
    assert found == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


stamps = st.lists(
    st.sampled_from([1, 5, CLOCK_SET, NOW - YEAR, NOW - HOUR, NOW - 1, NOW, NOW + 1, NOW + YEAR])
    | st.integers(0, NOW * 2),
    max_size=8,
)


@given(stamps)
def test_ages_never_fall_and_are_never_later_than_now(found: list[int]) -> None:
    """And a stamp of a clock that was right all the time is the age."""
    got = ages([segment("a", seq, stamp) for seq, stamp in enumerate(found)], NOW)
    assert got == sorted(got)
    assert all(CLOCK_SET <= age <= NOW for age in got)
    if found == sorted(found) and all(CLOCK_SET <= stamp <= NOW for stamp in found):
        assert got == found


policies = partial(
    st.builds,
    Policy,
    max_size=st.none() | st.integers(1, 2000),
    max_files=st.none() | st.integers(1, 20),
    max_age=st.none() | st.integers(1, YEAR),
)


@given(
    st.dictionaries(st.sampled_from("abc"), stamps),
    st.integers(0, 2000),
    policies(),
)
def test_always(found: dict[str, list[int]], free: int, policy: Policy) -> None:
    """Of each ring the lowest numbers go, never the last; and no victim was needless."""
    rings = {name: ring(name, one)[name] for name, one in found.items()}
    need = Need(free, "min_free")
    choice = choose(rings, need, policy, NOW)
    for name, one in found.items():
        gone = [seq for of, seq in taken(choice) if of == name]
        assert gone == [*range(1, len(gone) + 1)]
        assert not one or len(gone) < len(one)
    freed = sum(victim.segment.size for victim in choice.victims)
    assert choice.missing == max(0, free - freed)
    for victim, after in itertools.zip_longest(choice.victims, choice.victims[1:]):
        if after is None and victim is not None and victim.rule == "min_free":
            assert freed - victim.segment.size < free


@given(
    st.dictionaries(st.sampled_from("abc"), stamps),
    st.integers(0, 2000),
    policies(
        rings=st.just({}) | st.just({"a": Limits(max_size=300), "b": Limits(max_age=HOUR)}),
    ),
    st.sets(st.tuples(st.sampled_from("abc"), st.integers(1, 12))),
)
@example(  # no clock tells: whose turn it is must not depend on what the rules of a ring took
    {"a": [1, 1, 1, 1, 1, 5, 1, 1], "b": [1, 1]},
    501,
    Policy(rings={"a": Limits(max_size=300)}),
    {("a", 1)},
)
def test_what_is_held(
    found: dict[str, list[int]], free: int, policy: Policy, held: set[tuple[str, int]]
) -> None:
    """It never goes; all else goes as it would have, and more of it only for a rule's sake."""
    rings = {name: ring(name, one)[name] for name, one in found.items()}
    need, asked = Need(free, "min_free"), []

    def is_held(one: Segment) -> bool:
        asked.append((one.ring, one.seq))
        return (one.ring, one.seq) in held

    before = choose(rings, need, policy, NOW)
    choice = choose(rings, need, policy, NOW, Kept(is_held))
    gone = taken(choice)
    assert not held & set(gone)
    assert set(taken(before)) - held <= set(gone)
    assert set(gone) <= set(asked) <= set(gone) | held, "somebody was asked of in vain"
    if not held & set(taken(before)):
        assert choice == before
    assert choice.missing == max(0, free - sum(one.segment.size for one in choice.victims))
    left = [one for name in rings for one in rings[name].segments[:-1]]
    if policy.max_files is not None and sum(map(len, found.values())) - len(gone) > (
        policy.max_files
    ):
        assert all((one.ring, one.seq) in held | set(gone) for one in left), "something could go"


def test_the_next_goes_for_one_that_is_held() -> None:
    """For every rule; and held segments count for the rules like others."""
    rings = ring("a", hourly(6)) | ring("b", hourly(6, NOW - 90 * 60 * 10**9))

    def of_a(*seqs: int) -> Kept:
        return Kept(held=lambda one: one.ring == "a" and one.seq in seqs)

    choice = choose(rings, Need(300, "min_free"), Policy(), NOW, of_a(1, 2))
    assert taken(choice) == [("b", 1), ("b", 2), ("b", 3)]
    old = choose(rings, NOTHING, Policy(max_age=4 * HOUR), NOW, of_a(1, 2))
    assert taken(old) == [("b", 1), ("b", 2), ("b", 3)]
    size = Policy(rings={"a": Limits(max_size=300)})
    assert taken(choose(rings, NOTHING, size, NOW, of_a(1, 3))) == [("a", 2), ("a", 4), ("a", 5)]
    assert taken(choose(rings, NOTHING, Policy(max_files=11), NOW, of_a(1))) == [("b", 1)]
    every = choose(
        ring("a", hourly(4)), Need(100, "min_free"), Policy(max_size=1), NOW, of_a(*range(9))
    )
    assert every == Choice([], 100)


def test_what_waits_for_the_hook() -> None:
    """No rule takes it but that of the disk's space, after everything else and the oldest first."""
    rings = ring("a", hourly(6)) | ring("b", hourly(6, NOW - 90 * 60 * 10**9))
    kept = Kept(waits=lambda one: one.ring == "a" and one.seq < 5)
    strict = Policy(max_size=1, max_files=1, max_age=HOUR, rings={"a": Limits(max_size=1)})
    behind = [("a", 5), ("b", 1), ("b", 2), ("b", 3), ("b", 4), ("b", 5)]
    assert taken(choose(rings, NOTHING, strict, NOW, kept)) == behind
    choice = choose(rings, Need(800, "min_free"), strict, NOW, kept)
    assert taken(choice) == [*behind, ("a", 1), ("a", 2)]
    assert rules(choice)[-2:] == ["min_free", "min_free"]
    choice = choose(rings, Need(300, "min_free"), Policy(), NOW, kept)
    assert taken(choice) == [("b", 1), ("b", 2), ("b", 3)]
    both = Kept(lambda one: one.seq == 1, kept.waits)
    assert taken(choose(rings, Need(10**6, "min_free"), Policy(), NOW, both))[-3:] == [
        ("a", seq) for seq in (2, 3, 4)
    ]


def test_the_reserve() -> None:
    """The strictest rule, and its name."""
    assert Policy().reserve(1000) == 0
    assert Policy(max_usage=0.9).reserve(1000) == 100
    assert Policy(max_usage=0.9).space_rule(1000) == "max_usage"
    assert Policy(max_usage=0.9, min_free=99).reserve(1000) == 100
    assert Policy(max_usage=0.9, min_free=101).reserve(1000) == 101
    assert Policy(max_usage=0.9, min_free=101).space_rule(1000) == "min_free"
