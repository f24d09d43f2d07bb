"""Which unfinished files belong to nobody: what a run that was cut off has left.

A worker's files are those from the lowest that its state page names; whatever has a lower number
in its folder is dead, and so is everything in a folder without a ring.  As numbers are never used
again, a list of the folder may be older than what is known of the rings, but not younger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Living(NamedTuple):
    """A ring that is captured into the directory."""

    ring: str
    oldest: int | None  # the lowest number of a file that it needs; None: not known, or none yet


def remains(
    parts: Mapping[str, tuple[int, ...]], living: Iterable[Living]
) -> dict[str, tuple[int, ...]]:
    """By ring, the numbers of the `.part` files that nobody writes to, of those in `parts`."""
    needed: dict[str, int] = {}
    for ring, oldest in living:
        needed[ring] = min(needed.get(ring, 2**64), oldest or 0)
    dead = {
        ring: tuple(seq for seq in found if seq < needed.get(ring, 2**64))
        for ring, found in parts.items()
    }
    return {ring: found for ring, found in dead.items() if found}
