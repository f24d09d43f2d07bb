"""Which segments are finished, and which of them are as they will stay."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from capd.catalog import Part, RingFiles, Segment
from capd.daemon.finished import LATE, Finished, moved_before, up_to_now
from capd.daemon.handed import Handed
from capd.daemon.handover import Key
from capd.daemon.outlook import Seen, key_of
from capd.names import COMPRESSED_SUFFIX, DAMAGED_SUFFIX, SEGMENT_SUFFIX, SUSPECT_SUFFIX

RAW = (SEGMENT_SUFFIX, SEGMENT_SUFFIX + ".idx")
COMPRESSED = (COMPRESSED_SUFFIX, COMPRESSED_SUFFIX + ".idx")
SUSPECT = (SUSPECT_SUFFIX, SUSPECT_SUFFIX + ".idx")


def segment(
    ring: str, seq: int, suffixes: tuple[str, ...] = RAW, stamp: int = 0, *, own: bool = True
) -> Segment:
    """A finished one."""
    return Segment(ring, seq, stamp or seq * 10, 1000, "1970-01-01", tuple(sorted(suffixes)), own)


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
    """Not what was handed over; what that look deleted is open, or nobody would be told."""
    files = seen("/c", *(segment("a", seq) for seq in range(1, 9)), parts=[("a", 9), ("b", 1)])
    files = files._replace(gone=frozenset({key_of(segment("a", 5))}))
    done = Handed({"a": ((1, 3), (6, 6))})
    found = Finished().find(files, None, done, 0, compress=False)
    assert sorted(found.open) == [("a", 4), ("a", 5), ("a", 7), ("a", 8)]
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
