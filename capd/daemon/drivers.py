"""What the counters of a network driver mean: which of them are packets that the NIC lost.

The knowledge is data, `drivers.toml` beside this module: a row per driver, with the place in the
kernel's sources that says so.  This module reads the table and applies it to counters that others
have read; it asks no interface for anything.

Counters come as one mapping: those of rtnl_link_stats64 under the names that they have in
/sys/class/net/*/statistics, those of `ethtool -S` as `ethtool:NAME` (see `gathered`).  None, or
no entry, is a counter that is not known.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

ETHTOOL = "ethtool:"
NUMBER = "#"  # in a name: any number
BITS = 64

# What an unknown driver's names look like when they are about packets that went missing.
_SUSPECT = re.compile(r"drop|miss|(?<!int)err|discard|fifo|overflow|no_buf|no_desc|out_of", re.I)
_SENT = re.compile(r"(^|[^a-z])tx([^a-z]|$)", re.I)


@dataclass(frozen=True)
class Driver:
    """One row of the table; without `sets` nobody can know what the NIC lost."""

    name: str
    known: bool = True  # it has a row
    sets: tuple[tuple[str, ...], ...] = ()  # counters to add up; the first set that is all there
    at_most: bool = False  # their sum is an upper bound
    includes: dict[str, list[str]] = field(default_factory=dict)  # a counter, and those it holds
    bits: dict[str, int] = field(default_factory=dict)  # widths other than 64
    words: dict[str, str] = field(
        default_factory=dict
    )  # names of `ethtool -S`, and what they count
    advice: str = ""  # what to change on loss, if not the length of the ring
    note: str = ""  # what else one has to know
    source: tuple[str, ...] = ()

    def lost(self, counters: Mapping[str, int | None]) -> int | None:
        """Packets that the NIC dropped for want of a descriptor or of room, since it counts.

        None: the driver does not tell, or a counter that is needed is not known.
        """
        for names in self.sets:
            numbers = [_sum(name, counters) for name in names]
            told = [number for number in numbers if number is not None]
            if len(told) == len(numbers):
                return sum(told)
        return None

    @property
    def asks_ethtool(self) -> bool:
        """Whether `lost` needs counters of `ethtool -S`."""
        return any(name.startswith(ETHTOOL) for names in self.sets for name in names)

    def width(self, counter: str) -> int:
        """How many of its low bits mean anything; it starts again from 0 after the last value."""
        return next((bits for name, bits in self.bits.items() if _fits(name, counter)), BITS)

    def detail(self, names: Iterable[str]) -> dict[str, str]:
        """Those names of `ethtool -S` that are worth a look, and what each counts, in words.

        Of an unknown driver: those that look like loss, without words.
        """
        if not self.known:
            return {name: "" for name in names if _SUSPECT.search(name) and not _SENT.search(name)}
        return {name: words for name in names if (words := self._words(name)) is not None}

    def _words(self, name: str) -> str | None:
        return next((words for entry, words in self.words.items() if _fits(entry, name)), None)


@cache
def table() -> dict[str, Driver]:
    """All drivers that capd knows, by the name that the kernel gives them (`ethtool -i`)."""
    text = resources.files("capd.daemon").joinpath("drivers.toml").read_text()
    content = tomllib.loads(text)
    return {
        name: _driver(name, row, content["words"], content["every"])
        for name, row in content["driver"].items()
    }


def lookup(name: str | None) -> Driver:
    """The driver's row; one that knows nothing if there is none, or if the driver is not known."""
    return table().get(name or "") or Driver(name or "", known=False)


def gathered(statistics: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The answer of `ethtool -S`, with the names that the table uses.

    Some drivers put blanks around their names.  vmxnet3 uses the same names for each of its
    queues: those are added up.
    """
    counters: dict[str, int] = {}
    for name, number in statistics:
        key = f"{ETHTOOL}{name.strip()}"
        counters[key] = counters.get(key, 0) + number
    return counters


def _driver(name: str, row: dict[str, Any], kinds: dict[str, str], every: dict[str, Any]) -> Driver:
    sets = [row["lost"]] if "lost" in row else []
    includes = dict(row.get("includes", {}))
    for counter, held in every["includes"].items():
        includes[counter] = [*held, *includes.get(counter, ())]
    words = dict(row.get("words", {}))
    for kind, entries in row.get("detail", {}).items():
        words |= dict.fromkeys(entries, kinds[kind])
    return Driver(
        name,
        sets=tuple(tuple(names) for names in [*sets, *row.get("else", ())]),
        at_most=row.get("at_most", False),
        includes=includes,
        bits=row.get("bits", {}),
        words=words,
        advice=row.get("advice", ""),
        note=row.get("note", ""),
        source=tuple(row["source"]),
    )


def _sum(entry: str, counters: Mapping[str, int | None]) -> int | None:
    """The counter, or all that fit; None if there is none, or one of them is not known."""
    if NUMBER not in entry:
        return counters.get(entry)
    total: int | None = None
    for number in _fitting(entry, counters):
        if number is None:
            return None
        total = number if total is None else total + number
    return total


def _fitting(entry: str, counters: Mapping[str, int | None]) -> Iterator[int | None]:
    return (number for name, number in counters.items() if _fits(entry, name))


def _fits(entry: str, name: str) -> bool:
    return entry == name or (NUMBER in entry and bool(_pattern(entry).fullmatch(name)))


@cache
def _pattern(entry: str) -> re.Pattern[str]:
    return re.compile("[0-9]+".join(map(re.escape, entry.split(NUMBER))))
