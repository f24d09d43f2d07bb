"""Totals from counters that other programs own: they wrap, start again, or are not there.

Pure.  A total says by how much a counter has grown since it was first read.  It never falls, it
never leaps because a counter began anew, and one that cannot be read is unknown, not 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

_LIKELY = 32  # bits: softnet's counters have them everywhere, those of many a NIC too
_NEAR = 2**28  # packets: more do not come between two looks


class Totals:
    """Of counters that belong together, by their names.

    `width` gives how many low bits of one mean anything, where that is known to be fewer than 64.
    """

    def __init__(self, width: Callable[[str], int] = lambda _: 64) -> None:
        self._width = width
        self._read: dict[str, int] = {}  # what was read last
        self._grown: dict[str, int] = {}
        self._unknown: set[str] = set()

    def feed(self, counters: Mapping[str, int | None]) -> None:
        """What was read now; a counter that is missing or None is unknown for the time being."""
        self._unknown = set(self._grown) - set(counters)
        for name, value in counters.items():
            if value is None:
                self._unknown.add(name)
                self._grown.setdefault(name, 0)
                self._read.pop(name, None)  # what it counts meanwhile may be another device's
                continue
            before = self._read.get(name, value)
            self._read[name] = value
            self._grown[name] = self._grown.get(name, 0) + _growth(before, value, self._width(name))
        for name in self._unknown:
            self._read.pop(name, None)

    def rebase(self) -> None:
        """What is read next counts something else: nothing has grown until then."""
        self._read.clear()

    @property
    def values(self) -> dict[str, int | None]:
        """By how much each has grown; None: it could not be read."""
        return {
            name: None if name in self._unknown else grown for name, grown in self._grown.items()
        }

    def total(self, name: str) -> int:
        """By how much this one has grown as far as anybody knows."""
        return self._grown.get(name, 0)


def _growth(before: int, now: int, width: int) -> int:
    if width < _LIKELY:
        return (now - before) % (1 << width)
    if now >= before:
        return now - before
    wrapped = now + (1 << _LIKELY) - before
    if before < 1 << _LIKELY and 0 < wrapped <= _NEAR:
        return wrapped
    return 0  # it began anew, and nobody knows what it had missed
