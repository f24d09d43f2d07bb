"""One alert and one all-clear, whatever the loss does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.daemon.alerts import Alarm, Alerts
from capd.daemon.bursts import Growth
from capd.losses import Loss
from capd.units import DURATIONS, SECOND

START = 1_700_000_000 * SECOND
MINUTE = DURATIONS["min"]


def feed(alerts: Alerts, seconds: list[int], first: int = 0) -> list[tuple[int, Alarm]]:
    """Packets lost at the ring in successive seconds; what is told, and in which."""
    told = []
    for second, packets in enumerate(seconds, first):
        now = second * SECOND
        if packets:
            growth = Growth("v0", "ring", packets, START + now - SECOND, START + now)
            alerts.lost(growth, now)
        told += [(second, alarm) for alarm in alerts.look(now)]
    return told


@pytest.mark.fault(54)
def test_one_burst() -> None:
    """Told when it is over, with all of it; all-clear a minute after."""
    told = feed(Alerts(), [0, 300, 40, *[0] * 90])
    assert [(second, alarm.over, alarm.loss.packets) for second, alarm in told] == [
        (4, False, 340),
        (62, True, 340),
    ]
    loss = told[0][1].loss
    assert (loss.interface, loss.stage) == ("v0", "ring")
    assert (loss.since, loss.until) == (START, START + 2 * SECOND)


def test_below_the_threshold() -> None:
    """However long it goes on."""
    assert not feed(Alerts(100, MINUTE), [1] * 1000)
    assert not feed(Alerts(100, MINUTE), [99, *[0] * 59] * 10)


def test_a_burst_that_goes_on() -> None:
    """Told soon, once; the all-clear has all that was lost."""
    told = feed(Alerts(10, MINUTE), [5] * 300 + [0] * 120)
    assert [(second, alarm.over, alarm.loss.packets) for second, alarm in told] == [
        (6, False, 35),
        (358, True, 1500),
    ]


def test_a_stretch_of_time_shorter_than_a_burst() -> None:
    """What has left it when the burst ends is told all the same, as it is in the record."""
    told = feed(Alerts(1, SECOND), [0, 300, 40, *[0] * 9])
    assert [(second, alarm.over, alarm.loss.packets) for second, alarm in told] == [
        (4, False, 340),
        (5, True, 340),
    ]
    ((second, alarm), _) = feed(Alerts(1, 3 * SECOND), [0, *[10] * 4, 0, 0, 0])
    assert (second, alarm.loss.packets, alarm.loss.since) == (6, 40, START)


def test_the_end_of_the_daemon() -> None:
    """What waits for the end of its burst is told then; what is below the threshold is not."""
    alerts = Alerts(10, MINUTE)
    for stage, packets in (("nic", 12), ("ring", 9)):
        alerts.lost(Growth("v0", stage, packets, START, START + SECOND, stage == "nic"), 0)
    assert not alerts.look(0)
    assert [loss.stage for loss in alerts.due] == ["nic"]
    (alarm,) = alerts.close("v0", "nic")
    assert (alarm.loss.packets, alarm.loss.at_most, alarm.over) == (12, True, False)
    assert not alerts.close("v0", "nic")
    assert not alerts.close("v0", "ring")
    assert alerts.raised == [alarm.loss]


def test_a_threshold_that_is_raised_while_an_alert_waits() -> None:
    """It holds at once."""
    alerts = Alerts(10, MINUTE)
    assert not feed(alerts, [12])
    alerts.adjust(100, MINUTE)
    assert not feed(alerts, [0] * 10, 1)


@pytest.mark.fault(54)
def test_loss_around_the_threshold() -> None:
    """Up and down, and one alert."""
    told = feed(Alerts(100, MINUTE), ([110, *[0] * 59, 60, *[0] * 59] * 20) + [0] * 120)
    assert [alarm.over for _, alarm in told] == [False, True]


def test_again_after_the_all_clear() -> None:
    """Another episode is another alert."""
    told = feed(Alerts(), [7, *[0] * 100, 8, *[0] * 100])
    assert [(alarm.over, alarm.loss.packets) for _, alarm in told] == [
        (False, 7),
        (True, 7),
        (False, 8),
        (True, 8),
    ]


def test_stages_are_apart() -> None:
    """Loss at two of them is never added up."""
    alerts = Alerts(10, MINUTE)
    for stage in ("ring", "disk"):
        alerts.lost(Growth("v0", stage, 6, START, START), SECOND)
    alerts.lost(Growth("v1", "ring", 6, START, START), SECOND)
    assert not alerts.look(10 * SECOND)
    alerts.lost(Growth("v0", "disk", 6, START, START), 11 * SECOND)
    assert [alarm.loss.stage for alarm in alerts.look(20 * SECOND)] == ["disk"]
    assert [loss.stage for loss in alerts.raised] == ["disk"]


def test_another_threshold() -> None:
    """A lower one raises, a higher one gives the all-clear."""
    alerts = Alerts(1000, MINUTE)
    assert not feed(alerts, [500, 0, 0])
    alerts.adjust(400, MINUTE)
    assert [alarm.over for _, alarm in feed(alerts, [0, 0], 3)] == [False]
    alerts.adjust(1000, MINUTE)
    assert [alarm.over for _, alarm in feed(alerts, [0], 5)] == [True]


@pytest.mark.fault(54)
def test_another_daemon_goes_on() -> None:
    """What one raised, the next gives the all-clear for; nobody is told twice."""
    alerts = Alerts()
    ((_, alarm),) = feed(alerts, [5, 0, 0, 0])
    later = Alerts()
    later.resume([alarm.loss], 0)
    assert later.raised == [alarm.loss]
    told = feed(later, [0, 3, *[0] * 100])
    assert [(alarm.over, alarm.loss.packets) for _, alarm in told] == [(True, 8)]


@pytest.mark.fault(54)
@given(st.lists(st.integers(0, 50), max_size=300), st.integers(1, 200), st.integers(1, 90))
def test_alert_and_all_clear_take_turns(seconds: list[int], packets: int, per: int) -> None:
    """Whatever happens; and in the end nothing is left raised."""
    alerts = Alerts(packets, per * SECOND)
    told = feed(alerts, [*seconds, *[0] * 100])
    assert [alarm.over for _, alarm in told] == [False, True] * (len(told) // 2)
    assert not alerts.raised
    assert not alerts._watches
    stretches = [sum(seconds[max(0, at + 1 - per) : at + 1]) for at in range(len(seconds))]
    assert bool(told) == (max(stretches, default=0) >= packets)


def test_a_little_loss_after_a_restart_is_no_all_clear() -> None:
    """What was lost before it is not known, so that it takes the whole stretch of time."""
    later = Alerts(100, MINUTE)
    later.resume([Loss("v0", "ring", START, START, 500, "")], 0)
    assert not feed(later, [0, *[5] * 50])
    ((second, alarm),) = feed(later, [0] * 70, first=51)
    assert (second, alarm.over, alarm.loss.packets) == (100, True, 750)


def test_only_some_stages() -> None:
    """What the next daemon tells itself waits for it."""
    alerts = Alerts()
    for stage in ("ring", "backlog"):
        alerts.lost(Growth("v0", stage, 6, START, START), 0)
    assert [one.loss.stage for one in alerts.look(9 * SECOND, {"backlog"})] == ["backlog"]
    assert [one.loss.stage for one in alerts.look(9 * SECOND)] == ["ring"]
