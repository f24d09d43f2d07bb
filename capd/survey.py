"""What a stretch of a segment holds: one pass over its pcapng blocks, made in C.

This module owns the words for what the pass finds; the walk itself is `_survey.c`.  It
knows bytes; it touches no file.  What a block must look like is what capd writes
(`pcapng.py`, `capture/_pack.c`), not all that pcapng allows: one section, one interface,
this machine's byte order, stamps in nanoseconds, no block over 384 KiB but padding.
"""

from __future__ import annotations

from mmap import mmap
from typing import NamedTuple

from capd import _survey

SHORT = 1  # the block at `end` goes on beyond the content, as far as can be told
BAD = 2  # what stands at `end` is not a block that capd writes

MOST_BLOCK = 4 * 2**20  # bytes: a block of a segment is no longer
UNKNOWN_LINK = -1  # the head comes first
NO_STAMP = (2**64 - 1, 0)  # `first` and `last` without a packet
UNTOLD = 2**64 - 1  # `lost` without a block that tells

Content = bytes | bytearray | memoryview | mmap


class Survey(NamedTuple):
    """What was found; stamps in ns since 1970."""

    end: int  # just behind the last whole block
    fault: int  # 0: the limit or the content's end was reached; else SHORT or BAD
    link_type: int  # LINKTYPE_*, or UNKNOWN_LINK
    packets: int
    first: int  # smallest and largest stamp, NO_STAMP without a packet
    last: int
    lost: int  # since the segment began, as the last statistics told; UNTOLD
    closed: int  # the stamp of the last statistics; 0: there were none
    sketch: bytes  # for capd.sketch; b"": not asked for, or not known


def survey(
    content: Content, start: int, limit: int, link_type: int = UNKNOWN_LINK, *, sketch: bool = False
) -> Survey:
    """Walk the whole blocks of `content` from `start` to `limit`.

    A block that would end after `limit` is left for the next call, unless it is the first
    of this one.  With UNKNOWN_LINK a segment's head is expected at `start`: section header,
    perhaps padding, interface description; it counts as one block.  With a link type there
    may be no other head.  The content may change meanwhile; nothing outside of it is read.
    ValueError unless 0 <= start <= limit <= len(content).
    """
    return Survey(*_survey.survey(content, start, limit, link_type, sketch))
