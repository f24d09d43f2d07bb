"""Records of loss: what a person reads of each burst, and that they add up to the counters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.daemon.bursts import PROMPT, QUIET, SPACING, STAGES, Bursts
from capd.losses import Loss
from capd.messages import Counters
from capd.units import SECOND

START = 1_700_000_000 * SECOND
NONE = Counters()


def bursts(told: Counters = NONE) -> Bursts[Counters]:
    """Of an interface whose counters were `told` at START."""
    return Bursts("v0", told, START)


def feed(ring: Bursts[Counters], seconds: Sequence[int], first: int = 1) -> list[tuple[int, Loss]]:
    """Packets lost at the ring in successive seconds; what was told, and in which second."""
    found = []
    for second, lost in enumerate(seconds, first):
        counters = ring._latest._replace(dropped=ring._latest.dropped + lost)
        told = ring.feed(counters, START + second * SECOND)
        found += [(second, loss) for loss in told]
    return found


def test_short_burst_is_one_record() -> None:
    """From the look before it to the last that saw it grow; told when it is over."""
    ((second, loss),) = feed(bursts(), [0, 0, 5, 7, 0, 0, 0, 0])
    assert second == 6
    since, until = START + 2 * SECOND, START + 4 * SECOND
    assert loss == Loss("v0", "ring", since, until, 12, "")


def test_quiet_ring_tells_nothing() -> None:
    """Other counters may grow."""
    ring = bursts()
    for second in range(100):
        counters = Counters(received=second, written=second, freezes=second, overlap=second)
        assert not ring.feed(counters, START + second * SECOND)
    assert not ring.close()


def test_long_burst_is_told_as_it_goes_on() -> None:
    """Soon at first, then once a minute; the parts follow each other without a hole."""
    told = feed(bursts(), [1] * 200)
    seconds = [second for second, _ in told]
    assert seconds == [6, 66, 126, 186]
    losses = [loss for _, loss in told]
    assert [loss.packets for loss in losses] == [6, 60, 60, 60]
    assert losses[0].since == START
    assert all(one.until == other.since for one, other in pairwise(losses))
    assert seconds[0] * SECOND <= PROMPT + SECOND


def test_many_bursts_are_few_records() -> None:
    """A packet now and then is no flood of messages, and each of them is in one."""
    ring = bursts()
    told = feed(ring, [1, 0, 0, 0, 0] * 60)
    assert len(told) <= 300 * SECOND // SPACING + 1
    rest = ring.close()
    assert sum(loss.packets or 0 for loss in [*(loss for _, loss in told), *rest]) == 60


def test_what_is_not_told_yet_can_be_asked_for() -> None:
    """A record a minute is few for somebody who asks now; asking tells nothing."""
    ring = bursts()
    assert len(feed(ring, [1, 0, 0, 0])) == 1
    assert ring.untold() == []
    assert feed(ring, [2, 3, 0, 0, 0], first=5) == []
    loss = Loss("v0", "ring", START + 4 * SECOND, START + 6 * SECOND, 5, "")
    assert ring.untold() == [loss]
    assert ring.untold() == [loss]
    assert [told for _, told in feed(ring, [0] * 70, first=10)] == [loss]
    assert ring.untold() == []


def test_stages_are_apart() -> None:
    """Each has records of its own."""
    ring = bursts()
    assert not ring.feed(Counters(dropped=1, disk=2, malformed=3), START + SECOND)
    losses = ring.close()
    assert [(loss.stage, loss.packets) for loss in losses] == [
        ("ring", 1),
        ("disk", 2),
        ("capd", 3),
    ]
    assert ring.told == Counters(dropped=1, disk=2, malformed=3)


def test_daemon_goes_on_where_another_stopped() -> None:
    """What that one told is not told again, and what it did not is, from when it last knew."""
    first = bursts()
    feed(first, [5, 0, 0, 0])
    feed(first, [3], first=5)
    assert (first.told.dropped, first.since) == (5, START + 4 * SECOND)
    second = Bursts("v0", first.told, first.since)
    second.feed(Counters(dropped=10), START + 9 * SECOND)
    (loss,) = second.close()
    assert (loss.packets, loss.since, loss.until) == (5, START + 4 * SECOND, START + 9 * SECOND)


def test_no_report_yet_is_no_news() -> None:
    """What happened since an earlier daemon is told when a worker knows."""
    ring = bursts(Counters(dropped=7))
    assert not ring.feed(Counters(dropped=7), START + 5 * SECOND, taken=0)
    ring.feed(Counters(dropped=9), START + 6 * SECOND, taken=START + 6 * SECOND)
    (loss,) = ring.close()
    assert (loss.packets, loss.since) == (2, START)


@pytest.mark.parametrize("when", ["growing", "closing"])
def test_other_ring_may_have_them(when: str) -> None:
    """Then the number is an upper bound."""
    ring = bursts()
    ring.feed(Counters(dropped=1), START + SECOND, at_most=when == "growing")
    (loss,) = ring.close(at_most=when == "closing")
    assert loss.at_most


def test_older_report_is_not_a_restart() -> None:
    """Counters that go back and come again have not grown."""
    ring, losses = bursts(), []
    for second, dropped in enumerate([10, 4, 10, 11], 1):
        losses += ring.feed(Counters(dropped=dropped), START + second * SECOND)
    losses += ring.close()
    assert [loss.packets for loss in losses] == [10, 1]


@pytest.mark.fault(15)
def test_clock_that_is_set_back_silences_nothing() -> None:
    """An hour back: a record is due all the same, and never ends before it begins."""
    ring = bursts()
    assert feed(ring, [1, 0, 0])
    later = feed(ring, [1] + [0] * 70, first=-3600)
    assert len(later) == 1
    assert all(loss.until is not None and loss.until >= loss.since for _, loss in later)


def test_packets_cut_short_are_told_at_most_once_a_minute() -> None:
    """They are no loss; and what is told of them is not told again."""
    ring = bursts(Counters(clamped=2))
    told = []
    for second in range(1, 131):
        assert not ring.feed(Counters(clamped=2 + second), START + second * SECOND)
        told.append(ring.cut_short())
    assert [count for count in told if count] == [1, 60, 60]
    assert ring.cut_short(last=True) == 9
    assert ring.told.clamped == 132


class Look(NamedTuple):
    """What the daemon does next."""

    grown: tuple[int, int, int]  # of each stage's counter
    passed: int  # ns; less than 0 where somebody sets the clock back
    fresh: bool  # whether a worker has reported since
    restarted: bool  # another daemon goes on with what this one kept


LOOKS = st.builds(
    Look,
    st.tuples(*[st.sampled_from([0, 0, 0, 1, 1000])] * 3),
    st.integers(-3 * SPACING, 3 * SPACING) | st.sampled_from([SECOND, QUIET]),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(LOOKS, max_size=60))
def test_records_add_up_to_the_counters(looks: list[Look]) -> None:
    """Whatever happens in whatever order: exactly, stage by stage, over daemons too."""
    true = reported = Counters()
    ring, now, taken = bursts(), START, START
    losses: list[Loss] = []
    for look in looks:
        now += look.passed
        grown = zip(STAGES[Counters].values(), look.grown, strict=True)
        true = true._replace(**{name: getattr(true, name) + more for name, more in grown})
        if look.restarted:
            ring = Bursts("v0", ring.told, ring.since)
            reported, taken = ring.told, 0
        if look.fresh:
            reported, taken = true, now
        losses += ring.feed(reported, now, taken=taken)
    losses += ring.feed(true, now + SECOND, taken=now + SECOND)
    losses += ring.close()
    for stage, name in STAGES[Counters].items():
        told = sum(loss.packets or 0 for loss in losses if loss.stage == stage)
        assert told == getattr(true, name) == getattr(ring.told, name)
    assert all(loss.packets and loss.until and loss.since <= loss.until for loss in losses)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20 * SECOND)), max_size=80))
def test_spans_cover_when_packets_were_lost(steps: list[tuple[int, int]]) -> None:
    """Every interval between two reports in which some were lost is inside a record."""
    ring, now, dropped = bursts(), START, 0
    losses: list[Loss] = []
    spans = []
    for lost, passed in steps:
        if lost:
            spans.append((now, now + passed))
        now, dropped = now + passed, dropped + lost
        losses += ring.feed(Counters(dropped=dropped), now)
    losses += ring.close()
    for since, until in spans:
        assert any(one.since <= since and until <= (one.until or 0) for one in losses)
