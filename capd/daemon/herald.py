"""Telling people of too much loss, and that it is over: the journal, and events for `capd exec`.

When that is, `alerts` decides.  The command that is run for an event is none of the daemon's
business: it only leaves events, and only if the config has a command.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable

from capd.config import Alert
from capd.daemon.alerts import Alarm, Alerts
from capd.daemon.bursts import STAGES, Outside
from capd.daemon.ledger import Ledger
from capd.errors import StorageError
from capd.events import Kind
from capd.journal import tell
from capd.losses import STAGES as ALL_STAGES
from capd.losses import Loss, describe
from capd.spool import Event, Spool, now
from capd.units import format_count, format_duration, format_time


class Herald:
    """Of one daemon."""

    def __init__(self, ledger: Ledger, spool: Spool, raised: Iterable[Loss]) -> None:
        """`raised`: what the daemon before told of."""
        self._ledger = ledger
        self._spool = spool
        self._alert = Alert()
        self._alerts = Alerts()
        self._alerts.resume(raised, time.monotonic_ns())

    @property
    def raised(self) -> list[Loss]:
        """What is too much now."""
        return self._alerts.raised

    def adjust(self, alert: Alert) -> None:
        """Tell by these rules."""
        self._alert = alert
        self._alerts.adjust(alert.packets, alert.per)

    def observe(self) -> None:
        """Look at what was lost; about once a second, after the ledger has."""
        self._look(ALL_STAGES)

    def _look(self, stages: Container[str]) -> bool:
        """Whether there was anything to tell."""
        clock = time.monotonic_ns()
        for growth in self._ledger.growths():
            self._alerts.lost(growth, clock)
        alarms = self._alerts.look(clock, stages)
        for alarm in alarms:
            self._tell(alarm)
        return bool(alarms)

    def end(self, *, rings_live: bool) -> bool:
        """Wait for no end of a burst any more; whether there was anything to tell.

        Of rings that live on the next daemon knows what is not on record, and tells it.
        """
        stages = STAGES[Outside] if rings_live else ALL_STAGES
        told = self._look(stages)
        due = [one for one in self._alerts.due if one.stage in stages]
        for loss in due:
            for alarm in self._alerts.close(loss.interface, loss.stage):
                self._tell(alarm)
        return told or bool(due)

    def _tell(self, alarm: Alarm) -> None:
        if alarm.over:
            kind, event, text = Kind.ALL_CLEAR, "all-clear", self._over(alarm.loss)
        else:
            alarm = alarm._replace(loss=self._ledger.explained(alarm.loss))
            kind, event, text = Kind.ALERT, "alert", f"alert: {describe(alarm.loss)}"
        whose, facts = alarm.loss.whose, facts_of(alarm)
        tell(kind, text, interface=whose, **facts)
        if self._alert.command is None:
            return
        try:
            self._spool.put(Event(event, now(), f"{whose}: {text}", {"interface": whose} | facts))
        except StorageError as error:
            tell(Kind.NOT_DELIVERED, f"nobody was told: {error}", event=event)

    def _over(self, loss: Loss) -> str:
        few = self._alert.packets // 2
        within = format_duration(self._alert.per)
        now_lost = "none was" if not few else f"no more than {format_count(few)} were"
        return (
            f"all clear at the {loss.stage}: {now_lost} lost within {within}; it was "
            f"{format_count(loss.packets or 0)} packets in all since {format_time(loss.since)}"
        )


def facts_of(alarm: Alarm) -> dict[str, str]:
    """What its message and its event say, beside the interface."""
    loss = alarm.loss
    facts = {
        "stage": loss.stage,
        "packets": str(loss.packets),
        "from": format_time(loss.since),
        "to": format_time(loss.until or loss.since),
        "at_most": "yes" if loss.at_most else "no",
    }
    return facts if alarm.over else facts | {"cause": loss.cause, "change": loss.change or "none"}
