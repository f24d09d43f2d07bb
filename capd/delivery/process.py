"""Taking events from the spool, and running the config's commands for them.

Alerts are dealt with here, one after the other; segments for the [hook] beside them (`hooks`).
What is to be run stands in the config file alone.  A command that fails is run again a few times;
then the event is given up, and the journal says so.  The next ones are tried once each until one
is done, so that a program that hangs does not hold all of them up.  An event goes only when it is
dealt with: who is killed in the middle leaves it to the next, so that it may be told twice.
"""

from __future__ import annotations

import time
from contextlib import suppress

from capd.config import Alert, load
from capd.delivery.facts import environment, message
from capd.delivery.hooks import Hooks
from capd.delivery.program import Run, is_heard, run
from capd.errors import ConfigError, StorageError
from capd.events import Kind
from capd.journal import tell
from capd.spool import SEGMENT_CLOSED, Event, Spool
from capd.units import SECOND

PAUSES = (5.0, 30.0)  # seconds before each further try
LISTENING = 0.2  # seconds between two looks for events, while a command is in the background
CONFIG_PAUSE = 2.0  # seconds between two looks at a config that is bad


class Delivery:
    """Of one runtime directory, by one config file."""

    def __init__(self, config: str, spool: Spool, pauses: tuple[float, ...] = PAUSES) -> None:
        self._config = config
        self._spool = spool
        self._pauses = pauses
        self._alert: Alert | None = None  # the last that was good
        self._failing = False  # the event before was given up
        self._events: dict[str, Event] = {}  # that wait, by name: the oldest has the least
        self._hooks = Hooks(config, spool)

    def run(self) -> None:
        """Until no event waits, and what was run has said all.  StorageError."""
        with self._spool.taken():
            while True:
                for path in self._spool.set_aside():
                    text = f"this is no event, and was set aside: {path}"
                    tell(Kind.NOT_DELIVERED, text, event="none")
                self._take()
                if not self._events:
                    if not self._hooks.is_busy and not is_heard():
                        return
                    time.sleep(LISTENING)
                while self._events:
                    name = min(self._events)
                    event = self._events[name]
                    result = self._deliver(event)
                    self._spool.remove(name)
                    del self._events[name]
                    if event.answer:
                        with suppress(StorageError):  # its author has gone with the daemon
                            self._spool.answer(name, result._asdict())

    def _take(self) -> None:
        """All that wait, at once: where they are may go with a daemon that ends."""
        found = dict(self._spool.waiting())
        finished = {name: one for name, one in found.items() if one.kind == SEGMENT_CLOSED}
        self._hooks.begin(finished)  # beside the others, which they do not keep waiting
        for name, event in found.items():
            if name not in finished:
                self._events.setdefault(name, event)

    def _rest(self, seconds: float) -> None:
        """Wait, and take what comes meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._take()
            time.sleep(min(left, LISTENING))

    def _deliver(self, event: Event) -> Run:
        """Run the command until it is done, or given up; what became of it."""
        try:
            alert = self._configured(waits=not event.answer)
        except ConfigError as error:
            return _failed(f"the config cannot be used: {error}")
        if alert.command is None:
            ended = _failed(f"{self._config} has no [alert] command")
        else:
            ended = self._insist(event, alert.command, alert.timeout / SECOND)
        if ended.done:
            tell(Kind.DELIVERED, f"told {ended.how}: {event.text}", event=event.kind)
        else:
            said = f"; it said: {ended.output}" if ended.output else ""
            text = f"the [alert] command failed: {ended.how}{said}; nobody was told: {event.text}"
            tell(Kind.NOT_DELIVERED, text, event=event.kind)
        return ended

    def _insist(self, event: Event, command: tuple[str, ...], timeout: float) -> Run:
        """A few times, unless somebody waits for the answer, or the event before was in vain."""
        program, facts, text = command[0], environment(event), message(event)
        ended = run(command, facts, text, timeout)
        for pause in () if event.answer or self._failing else self._pauses:
            if ended.done:
                break
            self._rest(pause)
            ended = run(command, facts, text, timeout)
        self._failing = not ended.done
        return ended._replace(how=f"by {program}" if ended.done else f"{program}: {ended.how}")

    def _configured(self, *, waits: bool) -> Alert:
        """What the config says; while it is bad what it said before, or will say.

        ConfigError if that is not to be waited for.  What the daemon has kept of an earlier one
        will not do: whoever may write there must not choose the program.
        """
        told = False
        while True:
            try:
                self._alert = load(self._config).alert
            except ConfigError as error:
                if not waits:
                    raise
                if self._alert is None:
                    if not told:
                        text = f"nobody is told yet: events wait for a config that is good\n{error}"
                        tell(Kind.NOT_DELIVERED, text, event="all")
                        told = True
                    self._rest(CONFIG_PAUSE)
                    continue
            return self._alert


def _failed(how: str) -> Run:
    return Run(False, how, "")  # noqa: FBT003
