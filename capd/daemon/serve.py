"""The event loop of `capd run`: the log, the rings, the service and the live table."""

from __future__ import annotations

import asyncio
import logging
import os

from rich.console import Console

from capd.daemon import journal
from capd.daemon.adoption import Adopted
from capd.daemon.live import show
from capd.daemon.options import Options
from capd.daemon.rings import Rings
from capd.daemon.service import End, Service
from capd.runtime import RuntimeDirectory


def serve(options: Options, runtime: RuntimeDirectory, adopted: Adopted) -> None:
    """Capture until told to end.  CapdError."""
    console = Console(stderr=True) if options.live else None
    journal.set_up(console)
    asyncio.run(_serve(options, runtime, adopted, console))


async def _serve(
    options: Options, runtime: RuntimeDirectory, adopted: Adopted, console: Console | None
) -> None:
    rings = Rings()
    rings.take_over(adopted)
    service = Service(options.config, runtime, rings, keep_rings=options.keep_rings)
    beside = []
    if console is not None:
        beside.append(asyncio.create_task(show(service.overview, console)))
    if options.seconds is not None:
        beside.append(asyncio.create_task(_finish_after(service, options.seconds)))
    try:
        if await service.run() is End.LEFT:
            logging.shutdown()
            os._exit(0)  # at once: nothing but this lies between here and the next daemon
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _finish_after(service: Service, seconds: float) -> None:
    await service.started.wait()
    await asyncio.sleep(seconds)
    service.finish()
