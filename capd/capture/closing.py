"""The block at the end of a segment: its counters."""

from __future__ import annotations

import time

from capd import pcapng
from capd.capture.state import NEVER, SegmentState


def closing_statistics(segment: SegmentState) -> bytes:
    """The counters of a segment, as the block that stands in it."""
    now = time.time_ns()
    first, last = (now, now) if segment.first == NEVER else (segment.first, segment.last)
    comments = []
    if segment.disk:
        comments.append(f"{segment.disk} packets lost because the disk did not take them")
    if segment.malformed:
        comments.append(f"{segment.malformed} packets malformed")
    return pcapng.statistics(
        now=now,
        first=first,
        last=last,
        received=segment.written + segment.lost,
        dropped=segment.dropped,
        written=segment.written,
        missed=segment.missed,
        comment="; ".join(comments),
    )
