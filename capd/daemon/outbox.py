"""Whether somebody takes the events that the daemon leaves in the spool.

Who does that is another unit, which somebody can have disabled, or systemd given up.
"""

from __future__ import annotations

from capd.errors import StorageError
from capd.events import Kind
from capd.journal import tell
from capd.spool import Spool
from capd.units import SECOND

LATE = 60 * SECOND  # ns that the oldest event waits before it is told that nobody takes it


class Outbox:
    """Of one daemon; its times are the caller's monotonic ns."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._oldest = ""
        self._late_at: int | None = None  # None: it is told

    def look(self, now: int) -> None:
        """Say it once when the oldest event waits and nobody is at it: each may take long."""
        waiting = self._spool.names()
        if not waiting or waiting[0] != self._oldest:
            self._oldest = waiting[0] if waiting else ""
            self._late_at = now + LATE
        elif self._late_at is not None and now >= self._late_at and not self._is_taken():
            self._late_at = None
            self._tell(waiting)

    def end(self) -> None:
        """The daemon ends, and the events may go with it: say so."""
        waiting = self._spool.alerts()
        if waiting and self._is_taken():
            count = len(waiting)
            text = f"the daemon ends while {count} events wait for capd exec, which is not done yet"
            tell(Kind.NOT_DELIVERED, f"{text}: they may be told, or not", event="all")
        elif waiting:
            self._tell(waiting)

    def _is_taken(self) -> bool:
        try:
            return self._spool.is_taken
        except StorageError:
            return False

    def _tell(self, waiting: list[str]) -> None:
        text = f"nobody takes events from {self._spool.events}, where {len(waiting)} wait"
        tell(Kind.NOT_DELIVERED, f"{text}; see: systemctl status capd-exec.path", event="all")
