"""Holds: ranges of time whose packets retention must leave alone, and why.

Pure.  Both ends of a range belong to it; a range may end in the future, and then what comes is
held too.  A hold is in force until somebody releases it or, if it was made for a time, until that
is over.  The files that holds are in are `hold_folder`'s business, which segments they keep
`held`'s.
"""

from __future__ import annotations

import bisect
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from capd.times import clock
from capd.units import MAX, printable

FORMAT = 1  # of a file; a later version that only adds keys keeps it
MOST_REASON = 1000  # characters
INTERFACE_BYTES = 15  # IFNAMSIZ - 1, <linux/if.h>

_ID = re.compile(r"[0-9a-f]{8}")


class Span(NamedTuple):
    """A range of time, ns since 1970, of these interfaces; (): of all."""

    since: int
    until: int
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hold:
    """What is kept, and on whose word; times in ns since 1970."""

    id: str
    since: int
    until: int
    interfaces: tuple[str, ...]  # (): all
    reason: str
    made_at: int
    expires_at: int | None  # None: it lasts until it is released
    by: str  # who made it, as far as capd was told

    @property
    def span(self) -> Span:
        """What it covers."""
        return Span(self.since, self.until, self.interfaces)

    def concerns(self, interface: str) -> bool:
        """Whether it is of this interface."""
        return not self.interfaces or interface in self.interfaces

    def is_over(self, now: int) -> bool:
        """Whether the time that it was made for is."""
        return self.expires_at is not None and self.expires_at <= now


class Coverage:
    """The times that are held, by interface: spans that overlap are one."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = tuple(spans)
        self._merged: dict[str, tuple[list[int], list[int]]] = {}  # by ring: begins, ends

    def covers(self, ring: str, first: int, last: int) -> bool:
        """Whether any moment from `first` to `last` is held for the interface of this ring."""
        begins, ends = self._of(ring)
        at = bisect.bisect_left(ends, first)
        return at < len(ends) and begins[at] <= last

    def concerns(self, ring: str) -> bool:
        """Whether anything is held for the interface of this ring."""
        return bool(self._of(ring)[0])

    def _of(self, ring: str) -> tuple[list[int], list[int]]:
        if ring not in self._merged:
            interface = ring.partition(":")[0]
            spans = [
                one for one in self._spans if not one.interfaces or interface in one.interfaces
            ]
            self._merged[ring] = _merged(spans)
        return self._merged[ring]


def _merged(spans: Iterable[Span]) -> tuple[list[int], list[int]]:
    """Begins and ends of what these cover together, in order and apart from each other."""
    begins: list[int] = []
    ends: list[int] = []
    for since, until, _ in sorted(spans, key=lambda span: span.since):
        if ends and since <= ends[-1]:
            ends[-1] = max(ends[-1], until)
        else:
            begins.append(since)
            ends.append(until)
    return begins, ends


def new_id() -> str:
    """One that no other hold has, as far as chance allows."""
    return secrets.token_hex(4)


def is_id(text: str) -> bool:
    """Whether this can be a hold's."""
    return _ID.fullmatch(text) is not None


def interface_problem(name: str) -> str | None:
    """Why this is not the name of an interface; None if it can be."""
    if not 0 < len(name.encode(errors="replace")) <= INTERFACE_BYTES or name in (".", ".."):
        return f"an interface's name has 1 to {INTERFACE_BYTES} bytes"
    if ":" in name:
        return "name the interface, without the number of a ring"
    if "/" in name or any(one.isspace() or not one.isprintable() for one in name):
        return "it has a character that no interface's name has"
    return None


def describe(hold: Hold) -> str:
    """In words that any terminal can show: the range, of what, why, until when."""
    whose = ", ".join(hold.interfaces) if hold.interfaces else "every interface"
    lasts = "until it is released" if hold.expires_at is None else f"until {clock(hold.expires_at)}"
    return (
        f"{clock(hold.since)} to {clock(hold.until)} UTC of {whose}, {lasts}: "
        f"{printable(hold.reason)} ({printable(hold.by)}, {clock(hold.made_at)})"
    )


def encode(hold: Hold) -> str:
    """The content of a file."""
    return json.dumps({"format": FORMAT} | asdict(hold), indent=1) + "\n"


def decode(content: str | bytes) -> Hold:
    """What `encode` gave, by this version or one that added keys; ValueError for anything else."""
    try:
        fields = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is not JSON of a hold") from error
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")
    if fields.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}, the one that this capd reads")
    for name in Hold.__dataclass_fields__:
        if name not in fields:
            raise ValueError(f"{name} is missing")
        if not _fits(name, fields[name]):
            raise ValueError(f"{name} is not one")
    known = {name: fields[name] for name in Hold.__dataclass_fields__}
    hold = Hold(**known | {"interfaces": tuple(known["interfaces"])})
    if hold.since > hold.until:
        raise ValueError("it ends before it begins")
    return hold


def _fits(name: str, value: Any) -> bool:
    if name == "id":
        return isinstance(value, str) and is_id(value)
    if name == "interfaces":
        return isinstance(value, list) and all(
            isinstance(one, str) and interface_problem(one) is None for one in value
        )
    if name in ("reason", "by"):
        return isinstance(value, str)
    if name == "expires_at" and value is None:
        return True
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX
