"""What a run that was cut off has left, and never a file that somebody writes to."""

from __future__ import annotations

from capd.capture.state import SegmentState, State
from capd.daemon.remains import Living, remains

PARTS = {"a": (1, 2, 7, 8), "b": (3,), "c": ()}


def test_nobody_captures() -> None:
    assert remains(PARTS, []) == {"a": (1, 2, 7, 8), "b": (3,)}


def test_below_what_a_worker_needs() -> None:
    """Its own files, also the one made ahead, are left alone."""
    assert remains(PARTS, [Living("a", 7)]) == {"a": (1, 2), "b": (3,)}
    assert remains(PARTS, [Living("a", 1)]) == {"b": (3,)}


def test_a_worker_of_which_nothing_is_known() -> None:
    """It may be about to go on with any of them."""
    assert remains(PARTS, [Living("a", None), Living("b", 4)]) == {"b": (3,)}


def test_two_rings_of_one_folder() -> None:
    """While one succeeds the other."""
    assert remains(PARTS, [Living("a", 7), Living("a", 2)]) == {"a": (1,), "b": (3,)}
    assert remains(PARTS, [Living("a", 7), Living("a", None)]) == {"b": (3,)}


def test_what_a_state_page_needs() -> None:
    assert State().oldest is None
    assert State(segment=SegmentState(seq=9)).oldest == 9
    assert State(closing=SegmentState(seq=8)).oldest == 8
    assert State(segment=SegmentState(seq=9), closing=SegmentState(seq=8)).oldest == 8
