"""`capd run`: the log, the config, the service, and the live table if one is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from rich.console import Console
from rich.logging import RichHandler

from capd.config import load
from capd.daemon.live import show
from capd.daemon.service import Service


def run(config_path: str, *, live: bool, seconds: float | None) -> int:
    """Capture until told to stop or for `seconds`; gives the exit code."""
    console = Console(stderr=True)
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    if live and console.is_terminal:  # the log scrolls above the table
        handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    service = Service(load(config_path))
    asyncio.run(_serve(service, console if live else None, seconds))
    return 0


async def _serve(service: Service, console: Console | None, seconds: float | None) -> None:
    table = asyncio.create_task(show(service.recordings, console)) if console else None
    if seconds is not None:
        asyncio.get_running_loop().call_later(seconds, service.stop)
    try:
        await service.run()
    finally:
        if table is not None:
            table.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await table
