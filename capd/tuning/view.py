"""`capd tune show`: each setting as it is, as it is asked for, as it was, and what it does here."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from capd.config import Config
from capd.config_tuning import MOST
from capd.errors import TuningError
from capd.tuning import sysctl
from capd.tuning.effects import Traits, effect
from capd.tuning.nic import Nics
from capd.tuning.record import Record
from capd.tuning.targets import Kind, Subject, Target, Value, label, shown, wishes

# What is recommended most, whether asked for or not.
SYSCTLS = (
    *("net.core.rmem_max", "net.core.rmem_default", "net.core.wmem_max"),
    "net.core.netdev_max_backlog",
)
OFFLOADS = ("rx-gro", "rx-lro")
COALESCE = ("adaptive_rx", "rx_usecs", "rx_frames")

_WIDTH = 98
_LABEL = 34
_INDENT = "    "


class View:
    """Of a config on this machine, now."""

    def __init__(self, nics: Nics, record: Record, config: Config, subjects: list[Subject]) -> None:
        self._nics = nics
        self._record = record
        self._subjects = subjects
        self._asked = {wish.target: dict(wish.values) for wish in wishes(config, subjects)}

    def lines(self, captured: tuple[Traits, ...]) -> Iterator[str]:
        """All settings worth a look, sysctls first; `captured`: the subjects' traits."""
        names = dict.fromkeys((*SYSCTLS, *self._names()))
        for name in names:
            yield from self._target(Target("sysctl", name), captured)
        groups: tuple[Kind, ...] = ("channels", "ring", "coalesce", "offloads")
        for subject in self._subjects:
            yield ""
            for kind in groups:
                yield from self._target(Target(kind, subject.name, subject.index), captured)

    def _names(self) -> list[str]:
        """Of sysctls that are asked for or remembered."""
        asked = [target.name for target in self._asked if target.kind == "sysctl"]
        return asked + [one.target.name for one in self._record if one.target.kind == "sysctl"]

    def _target(self, target: Target, captured: tuple[Traits, ...]) -> Iterator[str]:
        asked = self._asked.get(target, {})
        try:
            present, most = self._read(target)
        except TuningError as error:
            yield f"{target.title:<{_LABEL}}{_none(error, asked=bool(asked))}"
            return
        if target.kind == "offloads":
            asked, unknown = self._features(target, asked)
        else:
            unknown = [key for key in asked if key not in present]
        rows = [
            (effect(target, key, present[key], captured), key)
            for key in self._worth(target, present, asked)
        ]
        for text, alike in groupby(rows, key=lambda row: row[0]):
            for _, key in alike:
                notes = list(self._notes(target, key, asked.get(key), most.get(key)))
                now = shown(target, key, present[key])
                yield f"{label(target, key):<{_LABEL}}{now}{_bracketed(notes)}"
            yield textwrap.fill(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
        for key in unknown:
            yield f"{label(target, key):<{_LABEL}}cannot be set: its driver has no such setting"

    def _read(self, target: Target) -> tuple[dict[str, Value], dict[str, int]]:
        """The values of a target, and the driver's maximum of some of them."""
        if target.kind == "sysctl":
            return {"": sysctl.read(target.name)}, {}
        present = self._nics.read(target.kind, target.name)
        return {**present}, self._nics.most(target.kind, target.name)

    def _features(
        self, target: Target, asked: dict[str, Value]
    ) -> tuple[dict[str, Value], list[str]]:
        """What is asked for by the kernel's names, and what the kernel does not know."""
        found: dict[str, Value] = {}
        unknown = []
        for offload, value in asked.items():
            try:
                found |= dict.fromkeys(self._nics.features(target.name, offload), value)
            except TuningError:
                unknown.append(offload)
        return found, unknown

    def _worth(
        self, target: Target, present: dict[str, Value], asked: dict[str, Value]
    ) -> Iterator[str]:
        """The keys to be shown."""
        always = {"offloads": OFFLOADS, "coalesce": COALESCE}.get(target.kind, tuple(present))
        for key in present:
            if key in always or key in asked or self._record.get(target, key):
                yield key

    def _notes(
        self, target: Target, key: str, asked: Value | None, most: int | None
    ) -> Iterator[str]:
        if most is not None:
            yield f"of at most {most}"
        if asked is not None:
            yield f"asked for: {'max' if asked == MOST else shown(target, key, asked)}"
        known = self._record.get(target, key)
        if known is not None:
            yield f"before capd: {shown(target, key, known.old)}"


def _none(error: TuningError, *, asked: bool) -> str:
    return f"cannot be set: {error}" if asked else f"none: {error}"


def _bracketed(notes: list[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""
