"""For how long a ring holds what comes while nobody drains it: at link speed, and of little.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from capd.daemon.ringplan import RingPlan
from capd.units import DURATIONS, SECOND, format_duration, format_size

# ns between the last block of a worker and the next one's first
RESTART_PAUSE = 150 * SECOND // 1000
FRAME_OVERHEAD = 1.2  # a ring holds less payload than its size: headers, and the block being filled


def ring_seconds(wanted: RingPlan) -> float | None:
    """Seconds of traffic at link speed that the ring holds; None where the speed is unknown."""
    speed = wanted.plan.source.speed
    return wanted.plan.geometry.size / FRAME_OVERHEAD / (speed / 8) if speed else None


def ring_doubts(name: str, wanted: RingPlan) -> Iterator[str]:
    """That it does not hold enough; what makes it larger helps in either case."""
    shape = wanted.plan.geometry
    held = ring_seconds(wanted)
    flush = shape.retire_ms * DURATIONS["ms"]
    # However little is in them, blocks are handed over after this: so many of them are a time.
    least = shape.blocks * flush
    if held is not None and held < 2 * RESTART_PAUSE / SECOND:
        yield (
            f"{name}: ring_size {format_size(shape.size)} holds {held:.2g} s at "
            f"link speed, less than twice the {format_duration(RESTART_PAUSE)} of a restart; "
            "make it larger"
        )
    elif least < SECOND:
        yield (
            f"{name}: flush_interval {format_duration(flush)} fills the {shape.blocks} blocks of "
            f"the ring in {least / SECOND:.2g} s, however few packets come; make it longer, or "
            "ring_size larger"
        )
