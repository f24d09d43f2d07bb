"""The live table of a foreground run: what each ring does right now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table

from capd.daemon.recording import Recording
from capd.messages import Counters
from capd.units import format_count, format_size

COLUMNS = ("interface", "packets/s", "bits/s", "written", "lost", "ring", "segment", "files")


async def show(recordings: Mapping[str, Recording]) -> None:
    """Redraw the table every second until cancelled."""
    before: dict[str, tuple[float, Counters]] = {}
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as view:
        while True:
            view.update(_table(recordings, before), refresh=True)
            await asyncio.sleep(1)


def _table(recordings: Mapping[str, Recording], before: dict[str, tuple[float, Counters]]) -> Table:
    table = Table(*COLUMNS, title="capd: Ctrl-C to stop")
    now = time.monotonic()
    for name, recording in sorted(recordings.items()):
        report, counters = recording.report, recording.counters
        then, earlier = before.get(name, (now, counters))
        before[name] = (now, counters)
        seconds = max(now - then, 0.001)
        table.add_row(
            name,
            format_count(round((counters.written - earlier.written) / seconds)),
            format_count(round((counters.bytes - earlier.bytes) * 8 / seconds)),
            format_count(counters.written),
            format_count(counters.lost),
            f"{report.filled:.0%}" if report else "",
            format_size(report.segment_bytes) if report else "",
            str(report.files) if report else "",
        )
    return table
