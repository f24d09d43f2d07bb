"""The zstd frame that a compressed segment is: whether it ends where its file does.

A decoder that is given less than a frame waits for more and complains of nothing, so the frame's
blocks are walked here, from head to head, without what is in them.
"""

from __future__ import annotations

import os

import zstandard

from capd.errors import StorageError
from capd.units import format_count

_MOST_HEAD = 18  # bytes of the longest head of a frame
_BLOCK_HEAD = 3
_REPEATED = 1  # the type of a block that is one byte, whatever its size says


def told_size(fd: int) -> int | None:
    """How many bytes the frame says to hold; None if it does not say.

    StorageError: the file is not one whole frame, and nothing else.  ZstdError: nor its beginning.
    """
    size = os.fstat(fd).st_size
    head = os.pread(fd, _MOST_HEAD, 0)
    told = zstandard.get_frame_parameters(head)
    at, last = zstandard.frame_header_size(head), False
    while not last:
        block = os.pread(fd, _BLOCK_HEAD, at)
        if len(block) < _BLOCK_HEAD:
            raise StorageError("the zstd frame in it is cut short")
        fields = int.from_bytes(block, "little")
        last = bool(fields & 1)
        at += _BLOCK_HEAD + (1 if fields >> 1 & 3 == _REPEATED else fields >> 3)
    at += 4 * told.has_checksum
    if at != size:
        text = f"the zstd frame in it ends at byte {format_count(at)} of {format_count(size)}"
        raise StorageError(text)
    return None if told.content_size == zstandard.CONTENTSIZE_UNKNOWN else told.content_size
