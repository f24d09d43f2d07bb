"""Two rings over one link: which packets are whose, whatever the clock and the worker did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.capture.state import NEVER, State
from capd.capture.window import BELIEVED, SETTLE, bounds, cut, passed

NOW = 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    ("wanted", "latest", "until"),
    [
        (0, 0, 0),
        (0, NOW, 0),
        (NOW + 50, 0, NOW + 50),
        (NOW + 50, NOW, NOW + 50),
        (NOW + 50, NOW + 49, NOW + 50),
        (NOW + 50, NOW + 50, NOW + 51),  # what is written already stays this ring's
        (NOW - 10**9, NOW - 7, NOW - 6),
        (NOW + 50, NOW + BELIEVED - 1, NOW + BELIEVED),
        (NOW + 50, NOW + BELIEVED, NOW + 50),  # written before the clock was set back
        (NOW + 50, NOW + 3600 * 10**9, NOW + 50),
    ],
)
def test_cut(wanted: int, latest: int, until: int) -> None:
    """Where it was asked for, or behind what is written."""
    assert cut(State(latest=latest), wanted, NOW) == until


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.integers(1, 2**63), st.integers(0, 2**63))
def test_a_cut_that_was_made_is_made_again(wanted: int, latest: int, until: int, now: int) -> None:
    """Whatever the next worker is asked, and whenever."""
    assert cut(State(latest=latest, until=until), wanted, now) == until


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOW - 1, False),
        (NOW, False),
        (NOW + SETTLE - 1, False),
        (NOW + SETTLE, True),
        (NOW - BELIEVED, False),
        (NOW - BELIEVED - 1, True),  # nobody waits for a clock that was set back
    ],
)
def test_passed(now: int, expected: bool) -> None:
    assert passed(NOW, now) is expected


@pytest.mark.parametrize(
    ("state", "block", "expected"),
    [
        (State(), 5, (NOW, NEVER)),
        (State(shared=5), 5, (NOW, NEVER)),
        (State(shared=5), 6, (0, NEVER)),  # opened after the ring before had ended
        (State(until=NOW + 9), 5, (NOW, NOW + 9)),
        (State(until=NOW + 9, shared=5), 6, (0, NOW + 9)),
    ],
)
def test_bounds(state: State, block: int, expected: tuple[int, int]) -> None:
    assert bounds(state, NOW, block) == expected
