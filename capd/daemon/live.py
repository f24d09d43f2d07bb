"""What each ring does right now: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import logging

from rich.console import Console
from rich.live import Live

from capd.daemon.overview import Overview
from capd.status_view import COLUMNS, cells, table

LINE_EVERY = 5  # seconds

log = logging.getLogger("capd")


async def show(overview: Overview, console: Console) -> None:
    """Keep telling until cancelled."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(LINE_EVERY)
            for ring in overview.latest.rings if overview.latest else ():
                told = (f"{name} {cell}" for name, cell in zip(COLUMNS, cells(ring), strict=True))
                log.info(", ".join(told))
    with Live(console=console, auto_refresh=False, transient=True) as view:
        while True:
            if overview.latest is not None:
                title = "capd is recording; Ctrl-C to stop"
                view.update(table(overview.latest.rings, title), refresh=True)
            await asyncio.sleep(1)
