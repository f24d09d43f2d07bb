"""Commits to a state page again and again, in processes that are killed at random instants.

    python -m tests.support.state_child RING_FD PAGE_FD KILLS SEED

Every state is one number all over, so that half a state shows.  Prints how many states
were committed; ends with 1 and a word when a load gives what was never committed.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time

from capd.capture.state import SegmentState, State, StatePage
from capd.messages import Counters
from capd.ring import cookie


def marked(state: State, number: int) -> State:
    """The next state: `number` wherever the kernel does not count."""
    segment = SegmentState(*[number] * len(SegmentState()))
    counters = Counters(*[number] * len(Counters()))._replace(
        received=state.counters.received,
        dropped=state.counters.dropped,
        freezes=state.counters.freezes,
    )
    segment = segment._replace(dropped=state.segment.dropped)
    closing = SegmentState(*[number] * len(segment))
    return State(number, segment, closing, counters, *[number] * 4)


def check(state: State, number: int) -> None:
    """AssertionError if parts of the state are from another one."""
    assert state == marked(state, number), f"half a state: {state}"
    assert state.segment.dropped == state.counters.dropped, f"drops: {state}"


def commit_for_ever(ring_fd: int, page_fd: int) -> None:
    """Load and check, then commit until killed."""
    ring = socket.socket(fileno=ring_fd)
    page = StatePage(page_fd, ring_fd, cookie(ring))
    state = page.load()
    if state.block:
        check(state, state.block)
    while True:
        state = page.commit(marked(state, state.block + 1))


def main(ring_fd: int, page_fd: int, kills: int, seed: int) -> None:
    """Starts and kills."""
    rng = random.Random(seed)
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            commit_for_ever(ring_fd, page_fd)
        time.sleep(rng.uniform(0.0005, 0.01))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
