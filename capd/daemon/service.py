"""The daemon: keeps one recording for every interface that the config means and that exists.

It compares what is wanted with what runs whenever a link or a route changes, starts and
finishes recordings, and at SIGTERM or SIGINT lets every worker drain its ring.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

from capd.config import Config
from capd.daemon import links, plans
from capd.daemon.directory import check_directory
from capd.daemon.recording import Recording
from capd.errors import CapdError, WorkerError
from capd.units import format_count, format_size

SETTLE = 0.1  # seconds: link and route changes come in bursts
RETRY = 5.0  # seconds until an interface that could not be captured is tried again
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

log = logging.getLogger("capd")


class Service:
    """All recordings of one config."""

    def __init__(self, config: Config) -> None:
        self.recordings: dict[str, Recording] = {}
        self._config = config
        self._changed = asyncio.Event()
        self._stopping = False
        self.started = asyncio.Event()  # everything that can be captured is
        self._told: dict[str, str] = {}  # what was said last of each interface that is not captured
        self._failed: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Capture until SIGTERM or SIGINT.  StorageError; WorkerError for a ring not drained."""
        storage = self._config.storage
        check_directory(storage.directory, require_mount=storage.require_mount)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        with links.watch() as changes:
            loop.add_reader(changes, self._drain, changes)
            await self._keep()
            loop.remove_reader(changes)
        for recording in self.recordings.values():
            recording.finish()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._failed:
            raise WorkerError("\n".join(self._failed))

    def stop(self) -> None:
        """Finish everything and return from `run`."""
        self._stopping = True
        self._changed.set()

    async def _resolve(self) -> plans.Resolved:
        present = await links.look()
        return await asyncio.to_thread(plans.resolve, self._config, present)

    async def _keep(self) -> None:
        while not self._stopping:
            self._changed.clear()
            failed = await self._reconcile()
            self.started.set()
            try:
                await asyncio.wait_for(self._changed.wait(), RETRY if failed else None)
            except TimeoutError:
                continue
            if not self._stopping:
                await asyncio.sleep(SETTLE)

    def _drain(self, changes: socket.socket) -> None:
        try:
            while changes.recv(65536):
                pass
        except BlockingIOError:
            pass
        except OSError as error:  # ENOBUFS: some are lost, and looking again is the answer anyway
            log.debug("link events: %s", error)
        self._changed.set()

    async def _reconcile(self) -> bool:
        """Make what runs equal to what is wanted; True when some of it has to be tried again."""
        resolved = await self._resolve()
        for name, recording in self.recordings.items():
            wanted = resolved.rings.get(name)
            if wanted is None or wanted.index != recording.wanted.index:
                recording.finish()
        refused = {name: f"cannot capture: {why}" for name, why in resolved.refused.items()}
        for name, wanted in resolved.rings.items():
            if name not in self.recordings:
                refusal = self._start(wanted)
                if refusal is not None:
                    refused[name] = refusal
        told = resolved.waiting | refused
        for name, text in told.items():
            if self._told.get(name) != text:
                log.warning("%s: %s", name, text)
        self._told = told
        return bool(refused)

    def _start(self, wanted: plans.RingPlan) -> str | None:
        """Start a recording; gives the reason when it cannot be."""
        name, shape = wanted.name, wanted.plan.geometry
        try:
            recording = Recording(
                wanted, lambda level, text: log.log(LEVELS[level], "%s: %s", name, text)
            )
            recording.start()
        except CapdError as error:
            return str(error)
        self.recordings[name] = recording
        task = asyncio.create_task(self._follow(recording))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        what = (
            f"filter {wanted.plan.source.filter!r}" if wanted.plan.source.filter else "everything"
        )
        log.info(
            "%s: capturing %s into %s, ring of %s",
            name,
            what,
            f"{wanted.plan.directory}/{name}",
            format_size(shape.size),
        )
        return None

    async def _follow(self, recording: Recording) -> None:
        """Wait for the end of a recording, and say what came of it."""
        await recording.ended.wait()
        del self.recordings[recording.name]
        self._changed.set()
        if recording.finished is not None:
            log.info("%s: %s", recording.name, summary(recording))
            return
        text = f"{recording.name}: its ring could not be drained: what was in it is lost"
        log.error(text)
        self._failed.append(text)


def summary(recording: Recording) -> str:
    """Where a ring's packets went, in one line."""
    counters = recording.counters
    return (
        f"received {format_count(counters.received)}, written {format_count(counters.written)}, "
        f"dropped {format_count(counters.lost)} (ring {format_count(counters.dropped)}, "
        f"disk {format_count(counters.disk)}, malformed {format_count(counters.malformed)}); "
        f"{format_size(counters.bytes)} of packets in {counters.files} "
        f"file{'' if counters.files == 1 else 's'}"
    )
