"""Which numbers of each ring were seen, and with which stamps: where what is kept begins."""

from __future__ import annotations


class Numbers:
    """Those of all rings that are looked at."""

    def __init__(self) -> None:
        self._stamps: dict[str, dict[int, int]] = {}  # by ring and number; 0: not known
        self._newest: dict[str, tuple[int, int]] = {}  # by ring: its highest number, and a stamp

    def note(self, ring: str, seq: int, stamp: int, last: int = 0) -> None:
        """It is there; the smallest stamp in it and the largest, as far as these are known."""
        self._stamps.setdefault(ring, {})[seq] = stamp
        self._newest[ring] = max(self._newest.get(ring, (0, 0)), (seq, max(stamp, last)))

    def reach(self, ring: str) -> int:
        """A stamp in the newest segment: what is not in any yet came after that packet."""
        return self._newest.get(ring, (0, 0))[1]

    @property
    def oldest(self) -> dict[str, int]:
        """By ring: the smallest stamp; 0 where none is known."""
        return {
            ring: min((stamp for stamp in stamps.values() if stamp), default=0)
            for ring, stamps in self._stamps.items()
        }

    def has_first(self, ring: str) -> bool:
        """Whether nothing was deleted of the ring, which began with number 1."""
        return min(self._stamps.get(ring, ()), default=1) == 1
