"""Times in which an interface gave no packets, from looks at the links.

Pure.  An outage begins when an interface that is captured is seen to be down, renamed or gone,
and ends when it is captured again and up; then it is a record.  An interface that was deleted
cannot be told from one that was moved to another network namespace.
"""

from __future__ import annotations

from typing import NamedTuple

from capd.daemon.links import Link, Links
from capd.losses import Loss


class Begun(NamedTuple):
    """An outage that begins."""

    interface: str
    cause: str


class Outages:
    """What is out at present."""

    def __init__(self) -> None:
        self._out: dict[str, tuple[int, str]] = {}  # by interface: since when, and why
        self._indices: dict[str, int] = {}  # of the interfaces that are captured

    def state(self, interface: str) -> str:
        """`up`, `down` or `gone`."""
        if interface not in self._out:
            return "up"
        return "down" if " is down" in self._out[interface][1] else "gone"

    def look(
        self, present: Links, captured: dict[str, int], noticed: int
    ) -> tuple[list[Begun], list[Loss]]:
        """What begins and what has ended.

        `captured`: interfaces with a ring, and since when (ns since 1970); `noticed`: when
        the links changed.
        """
        begun, ended = [], []
        for name in captured:
            if name in present.by_name:
                self._indices[name] = present.by_name[name].index
        for name in list(self._indices):
            cause = self._cause(name, present)
            if cause is not None:
                if name not in self._out:
                    self._out[name] = (noticed, cause)
                    begun.append(Begun(name, cause))
            elif name in captured:
                since, why = self._out.pop(name, (0, ""))
                if since:
                    until = max(noticed, captured[name]) if captured[name] > since else noticed
                    ended.append(Loss(name, "link", since, until, None, why))
            else:  # it is there, and nobody wants it any more
                self._out.pop(name, None)
                del self._indices[name]
        return begun, ended

    def _cause(self, name: str, present: Links) -> str | None:
        link = present.by_name.get(name)
        if link is not None:
            return _down(link)
        for other in present.by_name.values():
            if other.index == self._indices[name]:
                return f"the interface was renamed to {other.name}"
        return "the interface was deleted, or moved to another network namespace"


def _down(link: Link) -> str | None:
    if not link.up:
        return "the interface is down: somebody set it so (ip link set up)"
    return None if link.carrier else "the link is down: no carrier, look at cable and switch"
