"""The event loop of `capd run`: the log, the rings, the service and the live table."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from capd import journal
from capd.daemon.adoption import Adopted
from capd.daemon.options import Options
from capd.daemon.rings import Rings
from capd.daemon.service import End, Service
from capd.errors import CapdError
from capd.events import Kind
from capd.journal import tell
from capd.runtime import RuntimeDirectory

if TYPE_CHECKING:
    from rich.console import Console


def serve(options: Options, runtime: RuntimeDirectory, adopted: Adopted) -> None:
    """Capture until told to end.  CapdError."""
    console = _console() if options.live else None
    journal.set_up(console)
    try:
        asyncio.run(_serve(options, runtime, adopted, console))
    except CapdError as error:
        if not journal.is_heard():
            raise
        tell(Kind.NOT_STARTED, str(error), config=options.config)
        # What is no fault of the file systemd is to try again: RestartPreventExitStatus=2.
        raise SystemExit(1 if error.passing else error.exit_code) from error


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415  a service does not wait for it

    return Console(stderr=True)


async def _serve(
    options: Options, runtime: RuntimeDirectory, adopted: Adopted, console: Console | None
) -> None:
    rings = Rings()
    rings.take_over(adopted)
    service = Service(options.config, runtime, rings, keep_rings=options.keep_rings)
    beside = []
    if console is not None:
        from capd.daemon.live import show  # noqa: PLC0415  needs rich; see _console

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
