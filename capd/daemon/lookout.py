"""All that is lost: seen, explained, put on record and told; and that the clock was set.

It holds together the monitor, which sees; the ledger, which makes records; the herald, who tells
when it is too much; the outbox, from which events are to be taken; and, in the foreground, the
helpers who do.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from capd import status as statuses
from capd.config import Config
from capd.daemon.clock import Clock
from capd.daemon.helpers import Helpers
from capd.daemon.herald import Herald
from capd.daemon.ledger import Ledger
from capd.daemon.monitor import Monitor
from capd.daemon.notices import Notices
from capd.daemon.outbox import Outbox
from capd.daemon.rings import Rings
from capd.errors import StorageError
from capd.losses import Loss
from capd.runtime import RuntimeDirectory
from capd.spool import Spool
from capd.status import Status

# seconds that records may take to the disk when the daemon leaves; capture goes on meanwhile
LAST_RECORDS = 0.05
LAST_WORDS = 1.0  # the same, at the end of the capture
LAST_EVENTS = 10.0  # seconds that `capd exec` may take to deal with the last events


class Lookout:
    """Of one daemon."""

    def __init__(
        self, config: str, runtime: RuntimeDirectory, rings: Rings, *, foreground: bool
    ) -> None:
        self._spool = Spool(runtime.path)
        self.monitor = Monitor()
        self._clock = Clock()
        self._notices = Notices()
        before = _status_before(runtime)
        told_before = before.losses if before and before.config == config else []
        self.ledger = Ledger(rings, self.monitor, before, told_before)
        self._rings = rings
        self._herald = Herald(self.ledger, self._spool, before.alerts if before else [])
        self._outbox = Outbox(self._spool)
        self._helpers = Helpers(config, self._spool) if foreground else None

    @property
    def alerts(self) -> list[Loss]:
        """What is too much now."""
        return self._herald.raised

    async def adjust(self, config: Config) -> None:
        """Go on under this config."""
        storage = config.storage
        self.ledger.book.adjust(storage.directory, require_mount=storage.require_mount)
        self.monitor.interval = config.monitor.interval
        self._herald.adjust(config.alert)
        if self._helpers is not None:
            await self._helpers.adjust(config)

    async def watch(self, started: asyncio.Event) -> None:
        """See what explains a loss afterwards; capture comes first."""
        await started.wait()
        while True:
            try:
                self.monitor.tick(self._rings.all)
                self._notices.unseen("")
            except OSError as error:  # what it reads is opened, or even imported, when it must be
                text = f"cannot watch the interfaces: {error.strerror or error}"
                self._notices.unseen(text)
            self._clock.look()
            await asyncio.sleep(self.monitor.pause)

    async def observe(self) -> None:
        """Look at what was lost; about once a second."""
        self.ledger.observe()
        self._herald.observe()
        self._outbox.look(time.monotonic_ns())
        if self._helpers is not None:
            await self._helpers.look()

    def leave(self) -> bool:
        """The next daemon goes on: say what it cannot know; whether some is in the status only."""
        self.monitor.look()
        self.ledger.end()
        raised = self._herald.end(rings_live=True)
        settled = self.ledger.book.settle(LAST_RECORDS)
        return raised or not settled

    async def end(self) -> None:
        """The capture is over: say all."""
        self.monitor.look()
        self.ledger.observe()
        self.ledger.end()
        self._herald.end(rings_live=False)
        self.monitor.close()
        await asyncio.to_thread(self.ledger.book.end, LAST_WORDS)
        if self._helpers is not None:
            await self._helpers.look()
        await self._handed_over()
        if self._helpers is not None:
            await self._helpers.end()

    async def _handed_over(self) -> None:
        """Until no event waits, or for a moment: the folder that they are in may go with us."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_EVENTS):
                while self._spool.alerts():
                    await asyncio.sleep(0.05)
        self._outbox.end()


def _status_before(runtime: RuntimeDirectory) -> Status | None:
    """The last of the daemon before: what is out, and the alerts that it has not taken back."""
    with contextlib.suppress(StorageError):
        return statuses.read(runtime.status)
    return None
