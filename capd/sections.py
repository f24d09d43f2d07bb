"""One section of a segment: read alone, out of raw and compressed segments alike.

A compressed segment is one ordinary zstd frame whose sections do not refer to each other.
Behind a frame header made for it, and before an empty last block, the stored bytes of any
of them are a frame of their own.  The header made here tells the raw length, so that zstd
decodes straight into the result, without a window in between.  Where sections are is
`index.py`'s business; how they come to be, `archive/compressor.py`'s.
"""

from __future__ import annotations

import os

import zstandard
from isal.isal_zlib import crc32

from capd.errors import StorageError
from capd.index import Index, Section

MAGIC = b"\x28\xb5\x2f\xfd"
LAST_BLOCK = b"\x01\x00\x00"  # the last one, of no bytes
FRAME_HEAD = 13  # bytes of the header that is made here
_SINGLE_SEGMENT = b"\xe0"  # the window is the content, whose size follows in 8 bytes


def frame_head(raw_length: int) -> bytes:
    """The header of a frame that holds one section of so many bytes."""
    return MAGIC + _SINGLE_SEGMENT + raw_length.to_bytes(8, "little")


def decode_section(compressed: bytes, raw_length: int) -> bytes:
    """What was compressed.  StorageError: these are not the bytes of such a section."""
    frame = b"".join((frame_head(raw_length), compressed, LAST_BLOCK))
    try:
        # A frame of somebody else's making, taken as one section, brings its own last block.
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=True)
    except zstandard.ZstdError as error:
        raise StorageError(f"it cannot be decoded: {error}") from error


def frame_size(stored_length: int) -> int:
    """Bytes of the frame that is made of a section of so many, compressed."""
    return FRAME_HEAD + stored_length + len(LAST_BLOCK)


def decode_into(into: bytearray, raw_length: int, frame: bytearray, stored_length: int) -> int:
    """Decode what stands behind the first FRAME_HEAD bytes of `frame` into the start of `into`.

    Gives how many bytes came, `raw_length` if all is well.  Around the stored bytes `frame` needs
    the room of `frame_size`.  The memory is the caller's, who uses it again: fresh pages take as
    long as the decoding.  StorageError: these are not the bytes of such a section.
    """
    size = frame_size(stored_length)
    frame[:FRAME_HEAD] = frame_head(raw_length)
    frame[FRAME_HEAD + stored_length : size] = LAST_BLOCK
    with memoryview(frame) as whole, memoryview(into) as room:
        # One frame that is all there, and room for all that is in it: libzstd needs no window.
        reader = zstandard.ZstdDecompressor().stream_reader(whole[:size])
        try:
            return int(reader.readinto(room[:raw_length]))
        except zstandard.ZstdError as error:
            raise StorageError(f"it cannot be decoded: {error}") from error


def is_compressed(index: Index) -> bool:
    """Whether a segment's data file is a zstd frame: then its header stands before section 0."""
    return any(section.stored_offset for section in index.sections[:1])


def read_section(fd: int, index: Index, number: int) -> bytes:
    """The raw bytes of section `number`, as the segment's writer had them.

    StorageError: the file cannot be read, is not the one of the index, or is damaged there.
    """
    section = index.sections[number]
    try:
        stored = os.pread(fd, section.stored_length, section.stored_offset)
        return _checked(stored, section, compressed=is_compressed(index))
    except OSError as error:
        raise StorageError(f"section {number} cannot be read: {error.strerror}") from error
    except StorageError as error:
        raise StorageError(f"section {number} is damaged: {error}") from error


def _checked(stored: bytes, section: Section, *, compressed: bool) -> bytes:
    if len(stored) < section.stored_length:
        raise StorageError("the file ends before it does")
    raw = decode_section(stored, section.raw_length) if compressed else stored
    if crc32(raw) != section.crc:
        raise StorageError("its checksum is not the one in the index")
    return raw
