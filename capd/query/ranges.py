"""Sets of numbers as ranges: what a field may still be, after the comparisons on a path.

Ranges are (first, last) pairs, both inside, ascending and apart from each other; () is the empty
set.  They are values: every function gives new ones.
"""

from __future__ import annotations

Ranges = tuple[tuple[int, int], ...]

_FEW = 16


def intersected(some: Ranges, others: Ranges) -> Ranges:
    """What is in both."""
    pairs = ((max(a, c), min(b, d)) for a, b in some for c, d in others)
    return tuple((first, last) for first, last in pairs if first <= last)


def united(some: Ranges, others: Ranges) -> Ranges:
    """What is in one of them."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted((*some, *others)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return tuple(merged)


def numbers(ranges: Ranges) -> list[int]:
    """All of them if they are 16 or fewer; else none."""
    if sum(last - first + 1 for first, last in ranges) > _FEW:
        return []
    return [number for first, last in ranges for number in range(first, last + 1)]
