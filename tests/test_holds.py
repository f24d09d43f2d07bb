"""What a hold covers, and which segments that keeps: by names, by indexes, and in doubt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.catalog import Catalog, Segment
from capd.held import SLACK, Amount, Held, extents
from capd.holds import (
    Coverage,
    Hold,
    Span,
    decode,
    describe,
    encode,
    interface_problem,
    is_id,
    new_id,
)
from capd.names import SegmentName
from capd.units import MAX, SECOND
from tests.support.laying import SIZE, lay, lay_aside, there

HOUR = 3600 * SECOND
NOON = 1_763_985_600 * SECOND
HOLD = Hold("0123abcd", NOON, NOON + HOUR, ("eth0",), "case 42", NOON + 2 * HOUR, None, "root")
instants = st.integers(0, 60)
spans = st.lists(
    st.tuples(instants, instants, st.sampled_from([(), ("a",), ("b",), ("a", "b")])).map(
        lambda one: Span(min(one[:2]), max(one[:2]), one[2])
    )
)


@given(spans, st.sampled_from(["a", "a:1", "b", "c"]), instants, instants)
def test_coverage_is_that_of_each_span(found: list[Span], ring: str, one: int, other: int) -> None:
    """Of the interface whose ring it is, both ends included."""
    first, last = min(one, other), max(one, other)
    interface = ring.partition(":")[0]
    ours = [span for span in found if not span.interfaces or interface in span.interfaces]
    expected = any(span.since <= last and first <= span.until for span in ours)
    coverage = Coverage(found)
    assert coverage.covers(ring, first, last) == expected
    assert coverage.concerns(ring) == bool(ours)


def test_there_and_back() -> None:
    for hold in (HOLD, replace(HOLD, interfaces=(), expires_at=NOON, reason="é\x1b", by="a as b")):
        assert decode(encode(hold)) == hold
    later = json.loads(encode(HOLD)) | {"more": [1]}
    assert decode(json.dumps(later)) == HOLD


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "its format is not 1"),
        ({"id": "../../etc"}, "id is not one"),
        ({"id": "0123ABCD"}, "id is not one"),
        ({"since": -1}, "since is not one"),
        ({"since": True}, "since is not one"),
        ({"until": 2**63}, "until is not one"),
        ({"until": 1.5}, "until is not one"),
        ({"until": NOON - 1}, "ends before it begins"),
        ({"expires_at": "never"}, "expires_at is not one"),
        ({"interfaces": "eth0"}, "interfaces is not one"),
        ({"interfaces": ["a/b"]}, "interfaces is not one"),
        ({"interfaces": [None]}, "interfaces is not one"),
        ({"reason": None}, "reason is not one"),
    ],
)
def test_what_is_not_a_hold(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(json.dumps(json.loads(encode(HOLD)) | changes))
    for name in changes:
        fields = json.loads(encode(HOLD))
        del fields[name]
        with pytest.raises(ValueError, match=f"{name} is"):
            decode(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "null", "7", "{", "[" * 100_000, "\0", b"\xff\xfe\xff"])
def test_what_is_not_even_an_object(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="it is not"):
        decode(text)


def test_names() -> None:
    assert is_id(new_id())
    assert new_id() != new_id()
    for good in ("eth0", "enp3s0f1.100", "é", "x" * 15):
        assert interface_problem(good) is None
    for bad in ("", ".", "..", "x" * 16, "eth0:1", "a/b", "a b", "a\x1bb", "\udcff" * 16):
        assert interface_problem(bad) is not None
    assert describe(HOLD) == (
        "2025-11-24 12:00:00 to 2025-11-24 13:00:00 UTC of eth0, until it is released: case 42 "
        "(root, 2025-11-24 14:00:00)"
    )
    hostile = describe(replace(HOLD, reason="\x1b[2J\n\ud800", by="\x07"))
    assert hostile.endswith(r": \x1b[2J\n\ud800 (\x07, 2025-11-24 14:00:00)")


def kept(directory: Path, *held: Span) -> list[int]:
    """The numbers of v0's segments that these keep; `look` counts as `keeps` answers."""
    found = Held(str(directory), held)
    amount = found.look(Catalog(str(directory)).scan())
    everything = [one for ring in ("v0", "v0:1", "w0") for one in there(directory, ring)]
    asked = [one for one in everything if found.keeps(one)]
    assert amount == Amount(len(asked), sum(one.size for one in asked))
    return [one.seq for one in asked if one.ring == "v0"]


def test_an_index_tells_where_a_segment_ends(tmp_path: Path) -> None:
    """To the nanosecond, whatever comes after it; and nobody else's segments are kept."""
    for seq in range(1, 6):
        begin = NOON + seq * HOUR
        lay(tmp_path, SegmentName("v0", begin, seq), begin + HOUR // 2)
        lay(tmp_path, SegmentName("w0", begin, seq), begin + HOUR // 2)
    at = NOON + 2 * HOUR
    assert kept(tmp_path, Span(at, at, ("v0",))) == [2]
    assert kept(tmp_path, Span(at + HOUR // 2, at + HOUR - 1, ("v0",))) == [2]
    assert kept(tmp_path, Span(at + HOUR // 2 + 1, at + HOUR - 1, ("v0",))) == []
    assert kept(tmp_path, Span(at + HOUR // 2 + 1, at + HOUR)) == [3]
    assert kept(tmp_path, Span(0, MAX, ("v0",))) == [1, 2, 3, 4, 5]
    assert kept(tmp_path, Span(0, MAX, ("w0",)), Span(at, at)) == [2]
    assert kept(tmp_path) == []


def test_a_ring_of_an_interface_is_the_interface(tmp_path: Path) -> None:
    lay(tmp_path, SegmentName("v0:1", NOON, 1), NOON + 1)
    (segment,) = there(tmp_path, "v0:1")
    for span, expected in ((Span(NOON, NOON, ("v0",)), True), (Span(NOON, NOON, ("v",)), False)):
        held = Held(str(tmp_path), [span])
        assert (held.look(Catalog(str(tmp_path)).scan()).segments == 1) == expected
        assert held.keeps(segment) == expected


def test_without_an_index_the_next_one_is_the_bound(tmp_path: Path) -> None:
    """And an hour more, as the clock may have been set back; or none if that is seen."""
    for seq, begin in enumerate((NOON, NOON + 5 * HOUR, NOON + 10 * HOUR), 1):
        lay(tmp_path, SegmentName("v0", begin, seq))
    late = NOON + 7 * HOUR
    assert kept(tmp_path, Span(NOON + 6 * HOUR, late)) == [1, 2]
    assert kept(tmp_path, Span(NOON + 6 * HOUR + 1, late)) == [2]
    assert kept(tmp_path, Span(NOON + 20 * HOUR, NOON + 21 * HOUR)) == [3]
    lay(tmp_path, SegmentName("v0", NOON + HOUR, 4))  # set back within the third
    assert kept(tmp_path, Span(NOON + 30 * HOUR, NOON + 31 * HOUR)) == [3, 4]


def test_an_index_that_does_not_fit_tells_nothing(tmp_path: Path) -> None:
    data = lay(tmp_path, SegmentName("v0", NOON, 1), NOON + 1)
    lay(tmp_path, SegmentName("v0", NOON + HOUR, 2), NOON + HOUR + 1)
    asked = Span(NOON + 2, NOON + 3)
    assert kept(tmp_path, asked) == []
    index = data.with_name(data.name + ".idx")
    content = index.read_bytes()
    for broken in (b"", content[:50], content[:60] + bytes(40) + content[100:]):
        index.write_bytes(broken)
        assert kept(tmp_path, asked) == [1]
        assert kept(tmp_path, Span(NOON + 9 * HOUR, MAX)) == [], "it ended long before"
    index.write_bytes(content)
    data.write_bytes(bytes(SIZE + 1))
    assert kept(tmp_path, asked) == [1]


def test_a_segment_without_a_packet(tmp_path: Path) -> None:
    """It is evidence of the time until it was closed."""
    lay(tmp_path, SegmentName("v0", NOON, 1), 0, packets=0, closed=NOON + HOUR)
    lay(tmp_path, SegmentName("v0", NOON + 9 * HOUR, 2), NOON + 9 * HOUR)
    assert kept(tmp_path, Span(NOON + HOUR, NOON + 2 * HOUR)) == [1]
    assert kept(tmp_path, Span(NOON + HOUR + 1, NOON + 2 * HOUR)) == []


def test_what_was_set_aside_lies_between_its_neighbours(tmp_path: Path) -> None:
    lay(tmp_path, SegmentName("v0", NOON, 1), NOON + 1)
    lay_aside(tmp_path, "v0", 2)
    lay(tmp_path, SegmentName("v0", NOON + 2 * HOUR, 3), NOON + 2 * HOUR + 1)
    assert kept(tmp_path, Span(NOON - HOUR, NOON - 1)) == []
    assert kept(tmp_path, Span(NOON + 5, NOON + 6)) == [2]
    assert kept(tmp_path, Span(NOON + 4 * HOUR, NOON + 5 * HOUR)) == []
    lay_aside(tmp_path, "v0", 4)
    assert kept(tmp_path, Span(NOON + 4 * HOUR, NOON + 5 * HOUR)) == [4]


def segment(seq: int, stamp: int) -> Segment:
    return Segment("v0", seq, stamp, 1, "2025-11-24", (".pcapng",), own=True)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 20),  # hours until the next segment begins
            st.integers(0, 20 * 60),  # minutes after its beginning at which the clock is set
            st.sampled_from([0, 0, 0, HOUR // 2, -HOUR // 2, -HOUR, -5 * HOUR, 24 * HOUR]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_names_alone_bound_every_packet(course: list[tuple[int, int, int]]) -> None:
    """Whatever the clock did, unless it was set back by more than SLACK, and no stamp shows it."""
    clock, segments, lasts = NOON, [], []
    for seq, (hours, minutes, step) in enumerate(course, 1):
        before = clock + min(minutes * 60 * SECOND, hours * HOUR)  # when it is set
        after = before + step
        end = clock + hours * HOUR + step
        segments.append(segment(seq, min(clock, after)))
        lasts.append(max(before, end - 1))
        clock = end
    for at, (extent, last) in enumerate(zip(extents(segments), lasts, strict=True)):
        assert extent.first == segments[at].stamp
        back = sum(max(0, -step) for _, _, step in course[at : at + 2])
        assert last <= extent.last or back > SLACK
