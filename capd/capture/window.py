"""Which packets of a ring are its own while another ring captures the same link.

Two rings stamp the same packet with the same nanosecond, so an instant divides what they
have: the one before writes what is stamped before it, the one after what is not.  A cut that
was made stands in the state page, so that whoever goes on makes the same one.  Stamps come
from a clock that may be set meanwhile: no instant is waited for, or held against packets, for
longer than the packets in the ring can explain.
"""

from __future__ import annotations

from capd.capture.state import NEVER, State
from capd.units import SECOND

SETTLE = SECOND // 50  # ns for a packet that is stamped to reach its block
BELIEVED = 5 * SECOND  # ns: what is further ahead of the clock is from before it was set back


def passed(moment: int, now: int) -> bool:
    """Whether every packet stamped before `moment` has reached its block."""
    return now >= moment + SETTLE or now < moment - BELIEVED


def cut(state: State, wanted: int, now: int) -> int:
    """Where this ring ends, when it is asked to at `wanted`; 0: nowhere.

    A worker that stood still may have written later packets by then: those are this ring's.
    """
    if state.until or not wanted:
        return state.until
    written = state.latest if state.latest < now + BELIEVED else 0
    return max(wanted, written + 1)


def bounds(state: State, since: int, block: int) -> tuple[int, int]:
    """From when, and until when, the packets of a block are this ring's.

    `since` is where the ring before ended.  It means nothing to blocks that were opened later:
    were the clock set back, they would seem to be from before for as long.
    """
    shared = not state.shared or block <= state.shared
    return since if shared else 0, state.until or NEVER
