"""Times in which an interface gave no packets, from looks at the links.

Pure.  An outage begins when an interface that is captured is seen to be down, renamed or gone,
and ends when it is captured again and up; then it is a record.  An interface that was deleted
cannot be told from one that was moved to another network namespace.  One that somebody
deletes and makes again between two looks is known by its index: it took another ring.

Nobody looks between two daemons: what changed then did so when the first one had looked last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from capd.daemon.links import Link, Links
from capd.losses import Loss

REMEMBERED = 1000  # outages: containers come and go under names that never come again


class Reason(Enum):
    """Why an interface gives no packets."""

    SET_DOWN = auto()
    NO_CARRIER = auto()
    RENAMED = auto()
    GONE = auto()
    REPLACED = auto()  # another one has its name, and no ring
    UNKNOWN = auto()  # the daemon before knew


_NO_INDEX = 0  # of what is gone; no interface has it
_DOWN = {Reason.SET_DOWN, Reason.NO_CARRIER}
_OVER = "it gave no packets when the daemon before ended, and was up when this one looked"
_DELETED = "the interface was deleted, or moved to another network namespace"


class Begun(NamedTuple):
    """An outage that begins, or one that has a further cause."""

    interface: str
    cause: str


@dataclass(frozen=True)
class Ring:
    """What captures an interface."""

    index: int  # of the interface
    born: int  # ns since 1970


@dataclass
class _Outage:
    since: int
    born: int  # of the ring that it came over
    reason: Reason  # the latest
    causes: dict[Reason, str] = field(default_factory=dict)  # all of them, in words

    def __str__(self) -> str:
        return "; then ".join(self.causes.values()) or _OVER


class Outages:
    """What is out at present."""

    def __init__(
        self,
        rings: Mapping[str, Ring] | None = None,
        out: Mapping[str, int] | None = None,
        looked: int | None = None,
    ) -> None:
        """What the daemon before left, if it did.

        `rings`: by interface, those that live on; `out`: interfaces that gave no packets, and
        since when; `looked`: when it looked last.  Times in ns since 1970.
        """
        gone = {name: Ring(_NO_INDEX, since) for name, since in (out or {}).items()}
        self._rings = gone | dict(rings or {})  # by interface, the newest
        self._out = {
            name: _Outage(since, self._rings[name].born, Reason.UNKNOWN)
            for name, since in (out or {}).items()
        }
        self._looked_before = looked if rings else None

    def state(self, interface: str) -> str:
        """`up`, `down` or `gone`."""
        outage = self._out.get(interface)
        if outage is None:
            return "up"
        return "down" if outage.reason in _DOWN else "gone"

    @property
    def since(self) -> dict[str, int]:
        """By interface that is out: since when, in ns since 1970."""
        return {name: outage.since for name, outage in self._out.items()}

    def look(
        self, present: Links, captured: dict[str, int], noticed: int
    ) -> tuple[list[Begun], list[Loss]]:
        """What begins and what has ended.

        `captured`: interfaces with a ring, and since when (ns since 1970); `noticed`: when
        the links changed.
        """
        begun: list[Begun] = []
        begins = min(noticed, self._looked_before or noticed)
        self._looked_before = None
        ended: list[Loss] = []
        self._take_up(present, captured, begins)
        for name in list(self._rings):
            if name in present.by_name and name not in captured:
                if name not in self._out:  # nobody wants it any more
                    del self._rings[name]
                continue  # it is back, and yet to be captured
            found = self._reason(name, present)
            if found is not None:
                begun += self._go_on(name, *found, begins)
            else:
                ended += self._end(name, noticed)
        for name in list(self._out)[:-REMEMBERED]:
            del self._out[name], self._rings[name]
        return begun, ended

    def _take_up(self, present: Links, captured: dict[str, int], noticed: int) -> None:
        """Rings that are new; one whose interface was made again comes after an outage."""
        for name, born in captured.items():
            link, before = present.by_name.get(name), self._rings.get(name)
            if link is None or (before is not None and before.born == born):
                continue
            self._rings[name] = Ring(link.index, born)
            if before is not None and before.index != link.index and name not in self._out:
                reason, cause = _cause_of_absence(before.index, present)
                causes = {reason: f"{cause}; another took its name"}
                self._out[name] = _Outage(noticed, before.born, reason, causes)

    def _reason(self, name: str, present: Links) -> tuple[Reason, str] | None:
        """Why one gives no packets that is captured, or was until it went."""
        link, index = present.by_name.get(name), self._rings[name].index
        if link is None:
            return _cause_of_absence(index, present)
        if link.index != index:
            cause = _cause_of_absence(index, present)[1]
            return Reason.REPLACED, f"{cause}; another took its name, and is not captured yet"
        return _cause_of_silence(link)

    def _go_on(self, name: str, reason: Reason, cause: str, noticed: int) -> list[Begun]:
        """An outage goes on or begins; each reason is told once."""
        born = self._rings[name].born
        outage = self._out.setdefault(name, _Outage(max(noticed, born), born, reason))
        outage.reason = reason
        if reason in outage.causes:
            return []
        outage.causes[reason] = cause
        return [Begun(name, cause)]

    def _end(self, name: str, noticed: int) -> list[Loss]:
        outage = self._out.pop(name, None)
        if outage is None:
            return []
        born = self._rings[name].born
        until = noticed if born == outage.born else max(noticed, born)
        return [Loss(name, "link", outage.since, max(outage.since, until), None, str(outage))]


def _cause_of_silence(link: Link) -> tuple[Reason, str] | None:
    if not link.up:
        return Reason.SET_DOWN, f"the interface was set down; to undo: ip link set {link.name} up"
    if not link.carrier:
        return Reason.NO_CARRIER, "the link is down: no carrier; look at the cable and the far end"
    return None


def _cause_of_absence(index: int, present: Links) -> tuple[Reason, str]:
    """Where the interface is that had this index and another name."""
    for other in present.by_name.values():
        if other.index == index:
            return Reason.RENAMED, f"the interface was renamed to {other.name}"
    return Reason.GONE, _DELETED
