"""The services beside the daemon, where it runs in the foreground and systemd starts none.

`capd exec` runs when there are events, and ends by itself; `capd metrics` runs for as long as the
config says where to listen.  Neither outlives the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from typing import NamedTuple

from capd.config import Config
from capd.spool import Spool

FIRST_PAUSE, MOST_PAUSE = 1.0, 30.0  # seconds before one that died is started again
GRACE = 2.0  # seconds that they have to end

log = logging.getLogger("capd")


class Helpers:
    """Of one daemon in the foreground."""

    def __init__(self, config: str, spool: Spool) -> None:
        self._config = config
        self._spool = spool
        self._listen: str | None = None
        self._exec: asyncio.subprocess.Process | None = None
        self._metrics: asyncio.subprocess.Process | None = None
        self._pause = FIRST_PAUSE
        self._not_before = 0.0  # monotonic: when metrics may be started again
        self._refused: dict[str, _Refused] = {}  # by word: those that could not be started

    async def adjust(self, config: Config) -> None:
        """Serve metrics where this config says."""
        if config.metrics.listen != self._listen:
            self._listen = config.metrics.listen
            await _end(self._metrics)
            self._metrics, self._pause, self._not_before = None, FIRST_PAUSE, 0.0

    async def look(self) -> None:
        """Start what should run and does not; about once a second."""
        if not _runs(self._exec) and self._spool.names():
            self._exec = await self._start("exec")
        if self._listen is None or _runs(self._metrics):
            return
        if self._metrics is not None:
            self._metrics = None
            self._not_before = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, MOST_PAUSE)
        if time.monotonic() >= self._not_before:
            self._metrics = await self._start("metrics")

    async def end(self) -> None:
        """Then there are none."""
        for process in (self._exec, self._metrics):
            await _end(process)

    async def _start(self, word: str) -> asyncio.subprocess.Process | None:
        words = ("setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-I", "-m", "capd", word)
        runtime = os.path.dirname(self._spool.events)
        before = self._refused.get(word)
        if before is not None and time.monotonic() < before.until:
            return None
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                *("--config", self._config),
                stdin=asyncio.subprocess.DEVNULL,
                env=os.environ | {"RUNTIME_DIRECTORY": runtime},
                start_new_session=True,  # Ctrl-C is for the daemon, which ends them
            )
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread to wait for its end
            pause = FIRST_PAUSE if before is None else min(2 * before.pause, MOST_PAUSE)
            if before is None or before.text != str(error):
                log.error("cannot start capd %s, and try again: %s", word, error)
            self._refused[word] = _Refused(str(error), pause, time.monotonic() + pause)
            return None
        self._refused.pop(word, None)
        return process


class _Refused(NamedTuple):
    text: str  # why, as it was told
    pause: float  # seconds
    until: float  # monotonic


def _runs(process: asyncio.subprocess.Process | None) -> bool:
    return process is not None and process.returncode is None


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process is None or not _runs(process):
        return
    for stop in (process.terminate, process.kill):
        with contextlib.suppress(ProcessLookupError):
            stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE)
            return
