"""`capd run`: logging, the config, the service, and the live table if one is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

from capd.config import load
from capd.daemon.live import show
from capd.daemon.service import Service


def run(config_path: str, *, live: bool, seconds: float | None) -> int:
    """Capture until told to stop or for `seconds`; gives the exit code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    config = load(config_path)
    asyncio.run(_serve(Service(config), live=live, seconds=seconds))
    return 0


async def _serve(service: Service, *, live: bool, seconds: float | None) -> None:
    table = asyncio.create_task(show(service.recordings)) if live else None
    if seconds is not None:
        asyncio.get_running_loop().call_later(seconds, service.stop)
    try:
        await service.run()
    finally:
        if table is not None:
            table.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await table
