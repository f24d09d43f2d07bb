"""Whether a segment that nobody closed holds nothing, so that it may go.

Whoever is not sure says no: the file is kept then.
"""

from __future__ import annotations

import struct

from capd import pcapng
from capd.archive.pieces import AHEAD, Pieces

_MOST_HEAD = 2**17  # bytes of one block of a head: its texts are limited
_BYTE_ORDER_AND_VERSION = struct.pack("=IHHQ", 0x1A2B3C4D, 1, 0, 2**64 - 1)
_PACKET = struct.pack("=I", pcapng.ENHANCED_PACKET)  # no head has this at a multiple of 4
_OPTIONS = (1, 2, 3, 4, 8, 9, 11)  # those that capd writes
_NO_COUNTERS = pcapng.statistics(0, 0, 0, received=0, dropped=0, written=0)
# What a head begins with: kind, fields that are always the same, bytes of all fields.
_HEAD = (
    (pcapng.SECTION_HEADER, _BYTE_ORDER_AND_VERSION, 16),
    (pcapng.INTERFACE_DESCRIPTION, b"", 8),
)


def is_blank(pieces: Pieces, head: int) -> bool:
    """Whether behind a head of this length is only what holds neither a packet nor a loss."""
    at = head
    while pieces.size - at >= pcapng.LEAST_BLOCK:
        index = pieces.reach(at)
        kind, length = struct.unpack_from("=II", pieces.content, index)
        if not pcapng.LEAST_BLOCK <= length <= _MOST_HEAD:
            break
        block = pieces.content[index : index + length]
        if kind == pcapng.PADDING and pcapng.padding(length).startswith(block):
            at += len(block)
        elif length == len(block) == len(_NO_COUNTERS) and kind == pcapng.INTERFACE_STATISTICS:
            now = pcapng.read_statistics(block).now
            if block != pcapng.statistics(now, now, now, received=0, dropped=0, written=0):
                return False
            at += length
        else:
            break
    if at == pieces.size:
        return True
    index = pieces.reach(at)
    if struct.pack("=I", pcapng.PADDING).startswith(pieces.content[index : index + 4]):
        at = min(at + 8, pieces.size)
    return pieces.is_zero(at)


def is_torn_head(pieces: Pieces) -> bool:
    """Whether a file that does not begin as a segment is but a part of a head, and zeros."""
    if pieces.is_zero(0):
        return True
    index = pieces.reach(0)
    content = pieces.content[index : index + AHEAD].rstrip(b"\0")
    if not pieces.is_zero(len(content)):
        return False
    at = 0
    for kind, fixed, fields in _HEAD:
        length = _begun(content[at:], kind, fixed, fields)
        if not length:
            break
        at += length
    # However well it reads: a length that is wrong may have swallowed a packet, even a broken one.
    return length == 0 and pieces.find(_PACKET, 0, pieces.size) == pieces.size


def _begun(content: bytes, kind: int, fixed: bytes, fields: int) -> int | None:
    """The length of the block here, 0 if it is one that is cut off; None if it is neither."""
    begins, behind = struct.pack("=I", kind), content[8 : 8 + len(fixed)]
    if not begins.startswith(content[:4]) or not fixed.startswith(behind):
        return None
    if len(content) < 8:
        return 0
    length = int(struct.unpack_from("=I", content, 4)[0])
    if length % 4 or not pcapng.LEAST_BLOCK + fields <= length <= _MOST_HEAD:
        return None
    at = 8 + fields
    while at + 4 <= min(len(content), length - 4):
        code, size = struct.unpack_from("=HH", content, at)
        at += 4 + size + -size % 4
        if code == 0:
            break
        if code not in _OPTIONS:
            return None
    if len(content) < length:
        return 0 if at == length - 4 or at >= len(content) - 3 else None
    return length if at == length - 4 and content[length - 4 : length] == content[4:8] else None
