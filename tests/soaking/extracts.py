"""Extractions beside the capture: of the last seconds again and again, and one that follows."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.support.machine import PATH, Machine

LAST = "8s"
_EVERY = 4.0
_FOLLOWS = 20.0


class Extract(NamedTuple):
    """What came of one."""

    words: str
    path: Path
    code: int
    said: str


class Extracts:
    """One kind of them, `run` until `end`; `done` is for the caller to empty."""

    def __init__(self, machine: Machine, folder: Path, *, follow: bool) -> None:
        self.done: list[Extract] = []
        self._machine = machine
        self._folder = folder
        self._follow = follow
        self._running: subprocess.Popen[str] | None = None
        self._over = threading.Event()

    def run(self) -> None:
        """Extract."""
        number = 0
        while not self._over.wait(0.5 if self._follow else _EVERY):
            number += 1
            self.done.append(self._extract(number))

    def end(self) -> None:
        """No more after this one."""
        self._over.set()

    @property
    def pid(self) -> int:
        """Of the one that runs, as this machine numbers it; 0: none does."""
        running = self._running
        if running is None or running.poll() is not None:
            return 0
        with suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            return int(children[0]) if children else 0
        return 0

    def go_on(self) -> None:
        """After a stop: nsenter stops itself when its child does."""
        running = self._running
        if running is not None and running.poll() is None:
            running.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """The one that still runs, however it is."""
        running = self._running
        if running is not None and running.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid or running.pid, signal.SIGKILL)
            running.kill()

    def _extract(self, number: int) -> Extract:
        words = ["capd", "extract", "--since", "1s", "--follow"]
        if not self._follow:
            words = ["capd", "extract", "--since", LAST]
        path = self._folder / f"{'follow' if self._follow else 'range'}-{number}.pcapng"
        inside = ["nsenter", "-t", str(self._machine.pid), "-a", "--"]
        with path.open("wb") as file:
            self._running = subprocess.Popen(
                [*inside, *words],
                env={"PATH": PATH},
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            )
            if self._follow:
                threading.Timer(_FOLLOWS, self._interrupt, [self._running]).start()
            _, said = self._running.communicate()
        return Extract(" ".join(words), path, self._running.returncode, said)

    def _interrupt(self, process: subprocess.Popen[str]) -> None:
        if self._running is process and (pid := self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
