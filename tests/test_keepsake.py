"""What a daemon leaves for the next one is whole, whenever it died."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.daemon import keepsake
from capd.daemon.keepsake import SLOT, STATE_PAGE, Keepsake
from capd.daemon.ringplan import RingPlan
from capd.errors import RingError
from capd.messages import Counters, Plan, Source
from capd.ring import Geometry

SOURCE = Source("v0", "v0", 1, None, "port 80", 0, 262144, "host", record_direction=True)
PLAN = Plan(SOURCE, Geometry(262144, 16, 50), "/captures", 10**6, 10**9, 10**9)
KEPT = Keepsake(RingPlan(PLAN, 7, b"\x06" + bytes(7), promiscuous=True, entry="v*"), born=1)


@pytest.fixture
def memory() -> Iterator[int]:
    fd = keepsake.make_memory("capd-test")
    yield fd
    os.close(fd)


def test_the_newest_is_read(memory: int) -> None:
    for number in range(5):
        kept = KEPT._replace(since=number, told=Counters(dropped=number), ending=bool(number % 2))
        keepsake.write(memory, kept)
        assert keepsake.read(memory) == kept


def test_the_state_page_is_not_touched(memory: int) -> None:
    keepsake.write(memory, KEPT)
    assert os.pread(memory, STATE_PAGE, 0) == bytes(STATE_PAGE)


def test_an_interrupted_write_leaves_the_one_before(memory: int) -> None:
    """Whatever part of the second one is missing."""
    keepsake.write(memory, KEPT)
    before = os.pread(memory, 2 * SLOT, STATE_PAGE)
    keepsake.write(memory, KEPT._replace(until=5))
    after = os.pread(memory, 2 * SLOT, STATE_PAGE)
    changed = [at for at in range(len(after)) if before[at] != after[at]]
    for cut in {*range(changed[0], changed[0] + 40), *range(changed[-1] - 40, changed[-1] + 1)}:
        os.pwrite(memory, after[:cut] + before[cut:], STATE_PAGE)
        assert keepsake.read(memory) == KEPT
    os.pwrite(memory, after, STATE_PAGE)
    assert keepsake.read(memory).until == 5


@given(st.binary(max_size=200), st.integers(0, 2 * SLOT - 200))
def test_garbage_is_refused_in_words(garbage: bytes, place: int) -> None:
    fd = keepsake.make_memory("capd-test")
    try:
        os.pwrite(fd, garbage, STATE_PAGE + place)
        with pytest.raises(RingError, match="cannot take over a ring"):
            keepsake.read(fd)
    finally:
        os.close(fd)


def test_memory_that_is_too_small_is_refused() -> None:
    fd = os.memfd_create("capd-test")
    try:
        with pytest.raises(RingError, match="left no word of it"):
            keepsake.read(fd)
    finally:
        os.close(fd)


def test_a_plan_of_another_version_is_refused(memory: int) -> None:
    keepsake.write(memory, KEPT)
    page = os.pread(memory, SLOT, STATE_PAGE).replace(b'"entry"', b'"other"')
    os.pwrite(memory, page, STATE_PAGE)
    with pytest.raises(RingError, match="cannot take over a ring"):
        keepsake.read(memory)


def test_a_plan_that_does_not_fit_is_refused(memory: int) -> None:
    source = SOURCE._replace(filter="x" * SLOT)
    wanted = KEPT.wanted._replace(plan=PLAN._replace(source=source))
    with pytest.raises(RingError, match="its filter is too long"):
        keepsake.write(memory, KEPT._replace(wanted=wanted))
