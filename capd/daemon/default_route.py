"""Which interface `@default` means, when the default route does not hold still.

Pure: looks in, an answer out.  A route that vanishes for a moment, or hops between two links,
must not end a capture: the interface that has been captured is kept while there is no other,
and another one is believed only once it has been the default for a while.
"""

from __future__ import annotations

from dataclasses import replace

from capd.daemon.links import Links

DAMPING = 10.0  # seconds


class DefaultRoute:
    """The interface in force, and the one that may follow it."""

    def __init__(self, kept: str | None) -> None:
        """`kept`: what is captured as the default already."""
        self._kept = kept
        self._next: str | None = None
        self._since = 0.0

    def settle(self, links: Links, now: float) -> tuple[Links, float | None]:
        """The links with the default in force, and seconds until it is worth another look."""
        found, kept = links.default, self._kept
        alive = kept in links.by_name and links.by_name[kept].running
        if kept not in links.by_name or (found is not None and not alive):
            self._kept, self._next = found, None
        elif found is None or found == kept:
            self._next = None
        elif found != self._next:
            self._next, self._since = found, now
        elif now - self._since >= DAMPING:
            self._kept, self._next = found, None
        wait = None if self._next is None else max(0.0, self._since + DAMPING - now)
        return replace(links, default=self._kept), wait
