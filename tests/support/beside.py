"""A daemon's status file, told anew while `capd extract` or another word runs beside it."""

from __future__ import annotations

import json
import math
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from capd.messages import Counters
from capd.status import DiskStatus, RingStatus, Status, write
from capd.units import SECOND
from tests.support.command import running
from tests.support.extracting import config


def lacking(code: int, told: str) -> list[str]:
    """What is said to be missing."""
    said = told.splitlines()
    found = [line.removeprefix("incomplete: ") for line in said if line.startswith("incomplete: ")]
    assert (code, "complete" in said) == ((3, False) if found else (0, True)), said
    return found


class Daemon:
    """One that has recorded v0 for an hour."""

    def __init__(self, folder: Path) -> None:
        self.captures = folder / "captures"
        self.captures.mkdir()
        config(self.captures)
        self.runtime = folder / "run"
        self.runtime.mkdir()
        self.heard_at = 0  # of its worker, ns since 1970; 0: all the time
        self.dies_at = 0  # ns since 1970; 0: it lives
        self.drains_at = math.inf  # by the monotonic clock
        now = time.time_ns()
        self.ring = RingStatus(
            *("v0", "v0", "up", "running", 1, "", 0, str(self.captures), 2**20, 0.0, 1, 2**20),
            *(now - 3600 * SECOND, 0, None, 0.0, 0.0, Counters()),
        )
        disk = DiskStatus(str(self.captures), 2**40, 2**39)
        self.status = Status("1", 1, "", 0, now, "running", None, [self.ring], disk=disk)

    def tell(self) -> None:
        """Its status, as it is now."""
        now = time.time_ns()
        told = self.heard_at or now
        if time.monotonic() > self.drains_at:
            self.status.rings[0] = self.ring
        rings = [replace(ring, reported_at=told) for ring in self.status.rings]
        status = replace(self.status, written_at=self.dies_at or now, rings=rings)
        write(str(self.runtime / "status.json"), status)

    def lacking(self, *words: str) -> list[str]:
        """What an extraction is said to lack."""
        code, _, told = self._ask("extract", *words, "-o", "/dev/null")
        return lacking(code, told)

    def gaps(self, verb: str, *words: str) -> list[str]:
        """The same of `extract`, or what `losses` tells beside the ledger."""
        if verb == "extract":
            return self.lacking(*words)
        code, given, _ = self._ask(verb, *words, "--json")
        assert code == 0
        present: list[str] = json.loads(given)["present"]
        return present

    def _ask(self, *words: str) -> tuple[int, str, str]:
        argv = [*words, "--config", str(self.captures.parent / "capd.toml")]
        self.tell()
        with running(argv, self.runtime, subprocess.PIPE) as process:
            while process.poll() is None:
                time.sleep(0.2)  # a beat of the status
                self.tell()
            given, told = process.communicate()
            return process.returncode, given, told
