"""`capd run`: the log, the config, the service, and the live table if one is asked for."""

from __future__ import annotations

import asyncio
import logging

from rich.console import Console
from rich.logging import RichHandler

from capd.daemon.check import warnings
from capd.daemon.live import show
from capd.daemon.preflight import examine
from capd.daemon.service import Service

log = logging.getLogger("capd")


def run(config_path: str, *, live: bool, seconds: float | None) -> None:
    """Capture until told to stop or for `seconds`.  CapdError."""
    console = Console(stderr=True)
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    if live and console.is_terminal:  # the log scrolls above the table
        handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    usable = examine(config_path)
    for warning in warnings(usable):
        log.warning("%s", warning)
    asyncio.run(_serve(Service(usable.config), console if live else None, seconds))


async def _serve(service: Service, console: Console | None, seconds: float | None) -> None:
    beside = []
    if console is not None:
        beside.append(asyncio.create_task(show(service.recordings, console)))
    if seconds is not None:
        beside.append(asyncio.create_task(_stop_after(service, seconds)))
    try:
        await service.run()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _stop_after(service: Service, seconds: float) -> None:
    await service.started.wait()
    await asyncio.sleep(seconds)
    service.stop()
