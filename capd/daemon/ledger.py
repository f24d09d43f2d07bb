"""Gaps and losses of the running daemon: found, told once, and kept for whoever asks.

What counts as a burst or an outage is decided in `bursts` and `outages`; this module feeds
them from the rings and the links.
"""

from __future__ import annotations

import time
from collections import deque

from capd.daemon.bursts import Bursts
from capd.daemon.journal import tell, tell_loss
from capd.daemon.last_seen import captured_until
from capd.daemon.life import Phase
from capd.daemon.links import Links
from capd.daemon.outages import Outages
from capd.daemon.recording import Recording
from capd.daemon.rings import Rings
from capd.events import Kind
from capd.losses import Loss
from capd.units import SECOND, format_count, format_size

REMEMBERED = 100  # records
STANDSTILL = 3 * SECOND  # ns without a report: a worker gives one every second


class Ledger:
    """The newest records, and what becomes one."""

    def __init__(self, rings: Rings) -> None:
        self.losses: deque[Loss] = deque(maxlen=REMEMBERED)
        self._rings = rings
        self._outages = Outages()
        self._bursts: dict[Recording, Bursts] = {}
        self._captured: set[str] = {one.name for one in rings.all}  # in this daemon's life
        rings.on_end = self._close

    def link(self, interface: str) -> str:
        """`up`, `down` or `gone`."""
        return self._outages.state(interface)

    def observe(self) -> None:
        """Look at the counters; about once a second."""
        for recording in self._rings.all:
            for loss in self._feed(recording):
                self._add(loss)
            bursts = self._bursts[recording]
            _tell_cut_short(recording, bursts.cut_short())
            recording.keep(told=bursts.told, untold=bursts.since)

    def look(self, present: Links, noticed: int) -> None:
        """Look at the links; `noticed`: ns since 1970 at which they were seen to change."""
        current = self._rings.current
        captured = {one.wanted.plan.source.interface: one.kept.born for one in current.values()}
        for recording in current.values():
            self._check_before(recording)
        begun, ended = self._outages.look(present, captured, noticed)
        for interface, cause in begun:
            tell(Kind.LINK_DOWN, cause, interface=interface, cause=cause)
        for loss in ended:
            self._add(loss)

    def _check_before(self, recording: Recording) -> None:
        """Whether capd did not run before this ring was opened."""
        if recording.name in self._captured:
            return
        self._captured.add(recording.name)
        since = captured_until(recording.wanted.plan.directory, recording.name)
        if since is not None and since < recording.kept.born:
            interface = recording.wanted.plan.source.interface
            cause = "capd was not capturing it"
            self._add(Loss(interface, "link", since, recording.kept.born, None, cause))

    def _feed(self, recording: Recording) -> list[Loss]:
        now, kept = time.time_ns(), recording.kept
        bursts = self._bursts.get(recording)
        if bursts is None:
            interface = recording.wanted.plan.source.interface
            bursts = Bursts(interface, kept.told, kept.untold or kept.born)
            self._bursts[recording] = bursts
        return bursts.feed(
            recording.counters,
            now,
            _causes(recording, now - bursts.taken),
            at_most=bool(kept.until) or bursts.since < kept.since,  # the other ring has them
            taken=recording.reported_at,
        )

    def _close(self, recording: Recording) -> None:
        """A ring has ended: tell the rest."""
        found = self._feed(recording)
        bursts = self._bursts.pop(recording)
        for loss in (*found, *bursts.close()):
            self._add(loss)
        _tell_cut_short(recording, bursts.cut_short(last=True))

    def _add(self, loss: Loss) -> None:
        self.losses.append(loss)
        tell_loss(loss)


def _tell_cut_short(recording: Recording, packets: int) -> None:
    if packets:
        text = f"{format_count(packets)} packets were cut short: larger than a block of the ring"
        interface = recording.wanted.plan.source.interface
        tell(Kind.CUT_SHORT, text, interface=interface, packets=packets)


def _causes(recording: Recording, silence: int) -> dict[str, str]:
    """Why packets of a ring would be lost just now, by stage; `silence`: ns without news."""
    size = format_size(recording.wanted.plan.geometry.size)
    ring = f"its ring of {size} was full; make ring_size larger"
    if recording.phase is not Phase.RUNNING or silence > STANDSTILL:
        ring = f"its ring of {size} was full while no worker drained it; make ring_size larger"
    elif recording.report is not None and recording.report.segment is None:
        ring = "its ring was full while the disk took nothing; look at the disk"
    return {
        "ring": ring,
        "disk": "the disk did not take them in time; look at its free space and its errors",
        "capd": "the kernel's ring did not hold what it announced; report it as a bug",
    }
