"""How long writes take, as a histogram: its bounds, and what share of them took at most how long.

It is filled by the worker and read by the daemon, the status and the metrics.
"""

from __future__ import annotations

from collections.abc import Sequence

# ns that a write of a class takes at the most, from 2**16 (66 us) on, each twice the one before;
# the last class has no bound.
BOUNDS = tuple(1 << power for power in range(16, 34))
CLASSES = len(BOUNDS) + 1

_LEAST = 16


def class_of(duration: int) -> int:
    """The class of a write that took so long (ns)."""
    return min(max(0, (duration - 1).bit_length() - _LEAST), CLASSES - 1)


def quantile(counts: Sequence[int], share: float, longest: int) -> int | None:
    """ns within which this share of the writes were done: the bound of a class, or the longest.

    None where there was no write.
    """
    total = sum(counts)
    if not total:
        return None
    seen = 0
    for bound, count in zip(BOUNDS, counts, strict=False):
        seen += count
        if seen >= share * total:
            return min(bound, longest)
    return longest
