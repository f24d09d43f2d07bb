"""Running the [hook] command for segments that the daemon hands over, several at once.

Each is run once: whether it is run again is for the daemon to say, which gets an answer.  The
answer comes before the event goes: who is killed in the middle leaves the event to the next.  While
answers cannot be written this does not end: it would be started again for the same events.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from capd.config import load
from capd.delivery.facts import environment, message
from capd.delivery.program import Run, run
from capd.errors import ConfigError, StorageError
from capd.events import Kind
from capd.journal import tell
from capd.spool import Event, Spool
from capd.units import SECOND

MOST = 64  # at once, whatever the daemon asks for
LINGER = 2.0  # seconds for which the next one is waited for, when one is done


class Hooks:
    """Of one runtime directory, by one config file."""

    def __init__(self, config: str, spool: Spool) -> None:
        self._config = config
        self._spool = spool
        self._running: set[str] = set()
        self._answered: set[str] = set()  # whose event may still be there
        self._unheard: dict[str, dict[str, object]] = {}  # answers that could not be left yet
        self._told = False
        self._idle_since = -LINGER

    @property
    def is_busy(self) -> bool:
        """Whether one runs, or the next may come."""
        return bool(self._running or self._unheard) or time.monotonic() - self._idle_since < LINGER

    def begin(self, found: dict[str, Event]) -> None:
        """Run it for those that wait and that it is not run for yet."""
        self._answered &= found.keys()
        for name in [name for name in [*self._unheard] if name not in self._running]:
            if name in found:
                self._leave(name)
            else:  # whoever waited for it has gone
                self._unheard.pop(name)
        for name, event in found.items():
            if name in self._running | self._answered or len(self._running) >= MOST:
                continue
            self._running.add(name)
            try:
                threading.Thread(target=self._serve, args=(name, event), daemon=True).start()
            except RuntimeError as error:
                self._answer(name, event, _failed(f"it was not run: {error}"))

    def _serve(self, name: str, event: Event) -> None:
        result = _failed("an error of capd's own, which is in the journal of capd-exec")
        try:
            result = self._attempt(event)
        finally:  # or the daemon would wait for ever
            self._answer(name, event, result)

    def _answer(self, name: str, event: Event, result: dict[str, object]) -> None:
        place = {"ring": event.facts.get("ring"), "number": event.facts.get("number")}
        self._unheard[name] = place | result
        try:
            self._leave(name)
        finally:
            self._answered.add(name)
            self._idle_since = time.monotonic()
            self._running.discard(name)

    def _leave(self, name: str) -> None:
        """Leave an answer; one that cannot be left is kept, or it would all be run again."""
        try:
            self._spool.answer(name, self._unheard[name])
        except StorageError as error:  # the folders may have gone with the daemon
            if not self._told and name in self._spool.names():
                self._told = True
                text = f"{error}; what became of runs is told once that can be written"
                tell(Kind.HOOK_TROUBLE, f"the [hook]: {text}")
            return
        self._unheard.pop(name)
        with suppress(StorageError):  # the daemon does it
            self._spool.remove(name)

    def _attempt(self, event: Event) -> dict[str, object]:
        """Run it; what is answered."""
        try:
            hook = load(self._config).hook
        except ConfigError as error:
            return _failed(f"the config cannot be used: {error}")
        if hook.segment_closed is None:
            return _failed(f"{self._config} has no [hook] segment_closed")
        path = event.facts.get("path", "")
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return _failed("the segment is gone") | {"gone": True}
        except OSError as error:  # this may be another user than capd
            return _failed(f"it was not run, as it would not get at {path}: {error.strerror}")
        command, timeout = hook.segment_closed, hook.timeout / SECOND
        ended = run(command, environment(event), message(event), timeout)
        return ended._replace(how=f"{command[0]}: {ended.how}")._asdict()


def _failed(how: str) -> dict[str, object]:
    return Run(False, how, "")._asdict()  # noqa: FBT003
