"""The daemon: keeps one recording for every interface that the config means and that exists.

It compares what is wanted with what runs whenever a link, a route or the config changes.  An
end is one of two: a *finish* drains every ring and closes every segment; a *leave* ends the
daemon alone, at once, and the next one goes on with the rings that systemd keeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
import time
from enum import Enum, auto
from typing import Any

from capd import journal
from capd.config import Config
from capd.config_values import DEFAULT_ROUTE
from capd.control import Answer
from capd.daemon import changes, links, notify, plans
from capd.daemon.config_file import ConfigFile
from capd.daemon.control import ControlServer
from capd.daemon.default_route import DefaultRoute
from capd.daemon.lookout import Lookout
from capd.daemon.notices import Notices
from capd.daemon.overview import Overview
from capd.daemon.rings import Rings
from capd.daemon.upkeep import Upkeep
from capd.errors import ConfigError, StorageError, WorkerError
from capd.events import Kind
from capd.journal import tell
from capd.runtime import RuntimeDirectory
from capd.spool import Spool

SETTLE = 0.1  # seconds: link and route changes come in bursts
RETRY = 5.0  # seconds until an interface that could not be captured is tried again
AGAIN = 60.0  # seconds until a file is read again that could not be used for a reason that passes
TICK = 1.0  # seconds between two looks at the rings' counters
HEARD = 0.05  # seconds after the beat by which workers have reported
CHANGE_TIMEOUT = 15.0  # seconds for a ring that another one succeeds to be drained
PATIENCE = 30.0  # seconds that systemd is asked for while rings are drained

_STARTED_AGAIN = (
    "capd is a service, and systemd would start it again at once, with a gap between; "
    "to end it: systemctl stop capd"
)


class End(Enum):
    """How `Service.run` came to its end."""

    FINISHED = auto()
    LEFT = auto()


class Service:
    """All recordings of one config file."""

    def __init__(
        self, path: str, runtime: RuntimeDirectory, rings: Rings, *, keep_rings: bool
    ) -> None:
        """`keep_rings`: systemd keeps the rings of a daemon that is told to end by SIGTERM."""
        self.started = asyncio.Event()  # everything that can be captured is
        self._path = path
        self._runtime = runtime
        self._file = ConfigFile(path, runtime)
        self._rings = rings
        self._keep_rings = keep_rings
        self._config: Config | None = None
        self._reread = True  # the config is not in force yet as it was read last
        self._lookout = Lookout(path, runtime, rings, foreground=not keep_rings)
        self._upkeep = Upkeep(Spool(runtime.path))
        self.overview = Overview(path, rings, self._lookout, self._upkeep)
        kept = (one.name for one in rings.all if one.wanted.entry == DEFAULT_ROUTE)
        self._default = DefaultRoute(next(kept, None))
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._noticed = 0  # ns since 1970: when links were seen to change, since the last look
        self._end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._notices = Notices()
        self._hung_up = asyncio.Event()  # SIGHUP came since the file was read

    async def run(self) -> End:
        """Capture until told to end.  ConfigError, StorageError; WorkerError for a lost ring."""
        await self._read_config()
        await asyncio.to_thread(self._file.claim, self._directories)
        self._listen_to_signals()
        orders = {"reload": self._reload, "finish": self._finish, "end": self._end_for_good}
        async with contextlib.AsyncExitStack() as duty:
            news = duty.enter_context(links.watch())
            loop = asyncio.get_running_loop()
            loop.add_reader(news, self._drain, news)
            duty.callback(loop.remove_reader, news)
            await duty.enter_async_context(ControlServer(self._runtime.control, orders))
            duties = [self._keep(), self._tick(), self._lookout.watch(self.started)]
            duties.append(self._reload_for_signals())
            tasks = {asyncio.create_task(duty) for duty in duties}
            ends: set[asyncio.Future[Any]] = {self._end, *tasks}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._end.done() and self._end.result() is End.LEFT:
                if self._lookout.leave():
                    self._publish()  # what the next daemon gives the all-clear for, or records
                return End.LEFT
            async with self._changing:  # no ring is opened any more, and no cut is half made
                for task in tasks:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            await self._drain_rings()
        if self._rings.lost:
            raise WorkerError("\n".join(self._rings.lost))
        return End.FINISHED

    def finish(self) -> None:
        """Drain every ring, close every segment, and return from `run`."""
        self._ended_by(End.FINISHED)

    def _ended_by(self, end: End) -> None:
        if not self._end.done():
            self._end.set_result(end)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        left = End.LEFT if self._keep_rings else End.FINISHED
        loop.add_signal_handler(signal.SIGINT, self._ended_by, End.FINISHED)
        loop.add_signal_handler(signal.SIGTERM, self._ended_by, left)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up.set)

    async def _read_config(self) -> None:
        """The config at the start; with rings that are to go on, a bad file is no reason to end."""
        try:
            config, doubts = await asyncio.to_thread(self._file.read, self._rings.memory)
        except (ConfigError, StorageError) as error:
            if self._rings.all:
                self._go_on_without(error)
                return
            if self._keep_rings and error.passing:
                await asyncio.sleep(RETRY)  # systemd starts the next one at once
            raise
        self._config = config
        self._file.remember()
        self._notices.doubts(doubts)

    def _go_on_without(self, error: ConfigError | StorageError) -> None:
        """Capture under the last good config, or at least with the rings there are."""
        self._config, in_force = self._file.before()
        advice = "correct it and run: systemctl reload capd"
        if self._tried_again(error):
            advice = "capd tries again every minute"
        self.overview.trouble = f"{self._path} cannot be used; {in_force}: {advice}"
        tell(Kind.OLD_CONFIG, f"{self.overview.trouble}\n{error}", config=self._path)

    def _tried_again(self, error: ConfigError | StorageError) -> bool:
        """Have the file read again later, if it is not the file's fault."""
        if error.passing:
            asyncio.get_running_loop().call_later(AGAIN, self._hung_up.set)
        return error.passing

    async def _keep(self) -> None:
        """Reconcile at every change."""
        while True:
            self._changed.clear()
            async with self._changing:
                applied, again = await self._reconcile()
            if not self.started.is_set():
                self.started.set()
                self.overview.state = "running"
                self._publish()
                notify.ready()
                count = len(self._rings.current)
                text = f"capd records {count} interface{'' if count == 1 else 's'}"
                tell(Kind.STARTED, text, config=self._path, interfaces=count)
            elif not self.overview.tells_outages:
                self._publish()  # by which the next daemon knows, if this one is killed now
            waits = [again] if again is not None else []
            waits += [RETRY] if applied.refused else []
            try:
                await asyncio.wait_for(self._changed.wait(), min(waits, default=None))
            except TimeoutError:
                continue
            await asyncio.sleep(SETTLE)

    @property
    def _directories(self) -> set[str]:
        """Those that rings write to, whatever the config says by now, and its own."""
        in_use = {one.wanted.plan.directory for one in self._rings.all}
        return in_use | ({self._config.storage.directory} if self._config is not None else set())

    def _drain(self, news: socket.socket) -> None:
        with contextlib.suppress(OSError):  # ENOBUFS: some are lost, but all mean: look again
            while news.recv(65536):
                pass
        self._noticed = self._noticed or time.time_ns()
        self._changed.set()

    async def _reconcile(self) -> tuple[changes.Applied, float | None]:
        """Make what runs equal to what is wanted; also when it is worth looking again."""
        noticed, self._noticed = self._noticed or time.time_ns(), 0
        try:
            present, again = self._default.settle(await links.look(), time.monotonic())
            running = self._rings.running(reloaded=self._reread)
            resolved = await asyncio.to_thread(plans.resolve, self._config, present, running)
        except OSError as error:
            if not self._rings.all:
                raise
            self._noticed = noticed
            text = f"cannot look at the interfaces: {error.strerror or error}"
            self._notices.unseen(text)
            return changes.Applied(refused={"not applied": text}), None
        self._notices.unseen("")
        if self._config is None:
            self._lookout.ledger.look(present, noticed)
            return changes.Applied(), again
        self._reread = False
        await self._lookout.adjust(self._config)
        applied = await self._rings.apply(resolved.rings, resolved.unfit)
        self._lookout.ledger.look(present, noticed)
        refused = resolved.refused | applied.refused
        applied.changes += self._upkeep.adjust(self._config, self._rings.all)
        self._file.keep_claims(self._directories)
        self._notices.missing(resolved.waiting, refused)
        self.overview.waiting, self.overview.refused = resolved.waiting, refused
        if resolved.passing:
            again = RETRY if again is None else min(again, RETRY)
        return applied, again

    async def _tick(self) -> None:
        """Once a second: losses, the status file, signs of life (more often if systemd wants)."""
        interval = min(TICK, (notify.watchdog_interval() or math.inf) / 3)
        while True:
            await self._lookout.observe()
            if self.started.is_set():  # capture comes first
                self._upkeep.observe(self._rings.all)
            self._rings.store()
            self._publish()
            notify.watchdog()
            journal.catch_up()
            await asyncio.sleep(interval - (time.monotonic() - HEARD) % interval)

    def _publish(self) -> None:
        """The status, for whoever asks."""
        notify.status(self.overview.publish(self._runtime))

    async def _reload_for_signals(self) -> None:
        """However many of them come meanwhile, one more look at the file serves them all."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await self._reload()

    async def _reload(self) -> Answer:
        """Put the config file in force, whole or not at all."""
        async with self._changing:
            if self._end.done():  # a ring that were opened now, nobody would end
                return Answer(done=False, lines=("capd ends, and changes nothing any more",))
            self.overview.state = "reloading"
            notify.reloading()
            try:
                return await self._put_in_force()
            finally:
                if not self._end.done():
                    self.overview.state = "running"
                    self._publish()
                    notify.ready()

    async def _put_in_force(self) -> Answer:
        try:
            config, doubts = await asyncio.to_thread(self._file.read, self._rings.memory)
        except (ConfigError, StorageError) as error:
            lines = str(error).splitlines()
            if self.overview.trouble:
                self._tried_again(error)
            text = "\n".join([f"{self._path} is not used: what was in force stays", *lines])
            tell(Kind.RELOAD_REFUSED, text, config=self._path)
            return Answer(done=False, lines=tuple(lines))
        different = list(changes.of_tables(self._config, config))
        self._config, self._reread = config, True
        self._file.remember()
        self.overview.trouble = None
        applied, _ = await self._reconcile()
        applied.changes += different
        applied.changes += await self._rings.settle(CHANGE_TIMEOUT)
        self._changed.set()
        lines = applied.changes or ["nothing changed"]
        tell(Kind.RELOADED, "\n".join(["reloaded", *lines]), config=self._path)
        self._notices.doubts(doubts)
        troubles = [f"{name}: {why}" for name, why in applied.refused.items()]
        return Answer(done=not troubles, lines=(*lines, *troubles))

    async def _finish(self) -> Answer:
        """Drain every ring; the answer comes when all segments are closed."""
        self.finish()
        await self._rings.ended()
        return Answer(done=not self._rings.lost, lines=tuple(self._rings.lost))

    async def _end_for_good(self) -> Answer:
        """The same, for somebody who has not asked systemd for it."""
        if self._keep_rings:
            return Answer(done=False, lines=(_STARTED_AGAIN,))
        return await self._finish()

    async def _drain_rings(self) -> None:
        self.overview.state = "stopping"
        notify.stopping()
        self._rings.finish()
        ended = asyncio.create_task(self._rings.ended())
        while not ended.done():
            notify.extend_timeout(PATIENCE)
            notify.watchdog()
            self._publish()
            await asyncio.wait({ended}, timeout=TICK)
        await self._upkeep.end()
        await self._lookout.end()
        self._publish()
        lost = len(self._rings.lost)
        text = f"what it could; rings lost: {lost}" if lost else "all that it captured"
        tell(Kind.STOPPED, f"capd has written {text}", config=self._path)
