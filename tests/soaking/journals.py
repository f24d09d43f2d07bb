"""What capd's units say in the journal meanwhile, and what of it nobody expects."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from capd.events import Kind
from tests.soaking.accounts import Key
from tests.soaking.log import Log
from tests.support.machine import Machine

UNITS = ("capd", "capd-exec", "capd-metrics")
_KINDS = {kind.message_id: kind for kind in Kind}
_ERROR = 3  # syslog(3)
# An error of this kind may be told as often as these acts were done.
CAUSES = {
    Kind.WORKER_DIED: ("kill worker",),
    Kind.ARCHIVE_DIED: ("kill archive",),
    Kind.RELOAD_REFUSED: ("bad",),
    Kind.OLD_CONFIG: ("bad",),
    Kind.ALERT: ("loss",),
    Kind.HOOK_FAILED: ("bad",),  # a command is run by no config that is bad
}
# And systemd's own errors.
_SYSTEMD = {
    "Reload failed for capd.service": ("bad",),
    "Failed to start capd.service": ("kill daemon",),  # while it starts
}


class Journals:
    """Of one machine, read bit by bit."""

    def __init__(self, machine: Machine, log: Log) -> None:
        self.told: Counter[Kind] = Counter()
        self.restarts = 0  # of capd.service, by systemd itself
        self.losses: Counter[tuple[str, str]] = Counter()  # packets, by interface and stage
        self.missed: set[Key] = set()  # that the hook was not run for
        self._errors: Counter[str] = Counter()  # of systemd's
        self._machine = machine
        self._log = log
        self._cursors = dict.fromkeys(UNITS, "")

    @property
    def lost(self) -> dict[str, int]:
        """Packets of each interface that were told as lost."""
        found: Counter[str] = Counter()
        for (interface, _), packets in self.losses.items():
            found[interface] += packets
        return found

    def read(self) -> None:
        """What came since."""
        for unit in UNITS:
            for entry in self._new(unit):
                self._take(unit, entry)

    def _new(self, unit: str) -> Iterator[dict[str, Any]]:
        for entry in self._machine.journal(unit, self._cursors[unit]):
            self._cursors[unit] = entry["__CURSOR"]
            yield entry

    def _take(self, unit: str, entry: dict[str, Any]) -> None:
        said = str(entry.get("MESSAGE"))
        if "Traceback" in said:
            self._log.problem(f"{unit}: {said}", _moment(entry))
        if unit == "capd" and "Scheduled restart job" in said:
            self.restarts += 1
        kind = _KINDS.get(str(entry.get("MESSAGE_ID")))
        if kind is None:
            if int(entry.get("PRIORITY", 6)) <= _ERROR:
                known = next((one for one in _SYSTEMD if said.startswith(one)), "")
                self._errors[known] += 1
                if self._errors[known] > self._done(_SYSTEMD.get(known, ())):
                    self._log.problem(f"{unit} said: {said}", _moment(entry))
            return
        self.told[kind] += 1
        if kind is Kind.LOSS:
            packets = int(entry.get("CAPD_PACKETS") or 0)
            self.losses[entry["CAPD_INTERFACE"], entry["CAPD_STAGE"]] += packets
            self._log.act("loss", f"(capd said: {said})")
        if kind is Kind.HOOK_MISSED:  # room to record comes first
            self._log.say(f"(capd said: {said})")
            self.missed |= {(entry["CAPD_INTERFACE"], seq) for seq in _numbers(said)}
        elif kind.level == "error" and self.told[kind] > self._done(CAUSES.get(kind, ())):
            self._log.problem(f"{unit} said: {said}", _moment(entry))

    def _done(self, acts: Iterable[str]) -> int:
        return sum(self._log.acts[act] for act in acts)


def _numbers(said: str) -> Iterator[int]:
    """Of segments: `segments 3, 5 to 7 are gone`."""
    which = said.partition(" gone, ")[0].partition("segment")[2]
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", which):
        yield from range(int(first), int(last or first) + 1)


def _moment(entry: dict[str, Any]) -> float:
    """When it was said, as `time.monotonic` has it."""
    return time.monotonic() - (time.time() - int(entry["__REALTIME_TIMESTAMP"]) / 10**6)
