"""What a ring that runs keeps of its link's speed, and of the size that follows from it.

A cable that is drawn or a port that negotiates anew is no reason for another ring or another
segment: between two looks at the config, a ring keeps the speed it has, and its default size.
"""

from __future__ import annotations

from collections.abc import Iterable

from capd.daemon.ringplan import RingPlan
from capd.ring import Geometry


class Running:
    """The rings that run while it is planned what is to run."""

    def __init__(
        self, rings: Iterable[RingPlan] = (), *, reloaded: bool = True, room: float = 0
    ) -> None:
        """`reloaded`: the config was read since.  `room`: bytes that larger rings may take."""
        self._by_index = {one.link_index: one for one in rings}
        self._reloaded = reloaded
        self._room = room

    def speed(self, index: int, told: int | None) -> int | None:
        """The speed (bits/s) that the ring of this link goes by, which tells this one now."""
        before = self._by_index.get(index)
        known = before.plan.source.speed if before is not None else None
        return told or known if self._reloaded else known or told

    def shape(self, index: int, entry: str, speed: int | None, default: Geometry) -> Geometry:
        """What a ring of no stated size has; `default` follows from this speed.

        One that was opened before its link had ever told its speed grows when it does, once,
        where there is room: capd may start before the links are up.
        """
        before = self._by_index.get(index)
        if before is None or self._reloaded or before.entry != entry:
            return default
        kept = before.plan.geometry._replace(retire_ms=default.retire_ms)
        grows = speed != before.plan.source.speed and default.size > kept.size
        if not grows or default.size > self._room:
            return kept
        self._room -= default.size
        return default
