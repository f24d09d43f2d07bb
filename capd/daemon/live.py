"""What each ring does right now: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table

from capd.daemon.recording import Recording
from capd.messages import Counters
from capd.units import format_count, format_size

COLUMNS = ("interface", "packets/s", "Mb/s", "written", "lost", "ring", "segment", "files")
LINE_EVERY = 5  # seconds

log = logging.getLogger("capd")


class Status:
    """What changed from one look to the next."""

    def __init__(self, recordings: Mapping[str, Recording]) -> None:
        self._recordings = recordings
        self._before: dict[str, tuple[float, Counters]] = {}

    def rows(self) -> list[tuple[str, ...]]:
        """One row a ring, in the order of COLUMNS."""
        return [self._row(name) for name in sorted(self._recordings)]

    def _row(self, name: str) -> tuple[str, ...]:
        recording, now = self._recordings[name], time.monotonic()
        report, counters = recording.report, recording.counters
        then, earlier = self._before.get(name, (now - 1, counters))
        self._before[name] = (now, counters)
        return (
            name,
            format_count(round((counters.written - earlier.written) / (now - then))),
            f"{(counters.bytes - earlier.bytes) * 8e-6 / (now - then):,.1f}",
            format_count(counters.written),
            format_count(counters.lost),
            f"{report.filled:.0%}" if report else "",
            format_size(report.segment_bytes) if report else "",
            str(counters.files),
        )


async def show(recordings: Mapping[str, Recording], console: Console) -> None:
    """Keep telling until cancelled."""
    status = Status(recordings)
    if not console.is_terminal:
        while True:
            await asyncio.sleep(LINE_EVERY)
            for row in status.rows():
                told = (f"{column} {value}" for column, value in zip(COLUMNS, row, strict=True))
                log.info(", ".join(told))
    with Live(console=console, auto_refresh=False, transient=True) as view:
        while True:
            table = Table(*COLUMNS, title="capd is recording; Ctrl-C to stop")
            for row in status.rows():
                table.add_row(*row)
            view.update(table, refresh=True)
            await asyncio.sleep(1)
