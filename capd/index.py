"""The index of a segment, `.idx`: where its sections are, and what is in each of them.

A section is a run of whole pcapng blocks, some MiB long, that can be read, checked and
skipped alone.  This module owns the bytes of the index; it touches no file, and what is
in a sketch is `sketch.py`'s business.

Little endian; offsets and lengths in bytes, stamps in ns since 1970:

    offset  size
    0       8     magic: 0x89 "capdix" 0x0A
    8       2     version, 1; another one cannot be read
    10      2     length of this header, at least 88; what is behind the 88 is skipped
    12      4     link type, pcapng's LINKTYPE_*
    16      8     stored size: bytes of the data file that this index belongs to
    24      8     raw size: bytes of its pcapng, uncompressed
    32      4     number of sections
    36      4     zero
    40      8     packets, first, last, lost, closed: those of all sections together,
    48      8     so that a list of many segments needs no more than the header
    56      8
    64      8
    72      8
    80      4     CRC-32 of the 80 bytes before
    84      4     zero
    then one record a section, in the order of the raw bytes:
    0       4     length of this record, at least 80
    4       4     CRC-32 (zlib's) of the section's raw bytes
    8       8     raw offset: the end of the section before; 0 in the first
    16      8     raw length
    24      8     stored offset: not before the end of the section before
    32      8     stored length
    40      8     first: smallest stamp of a packet; 2**64 - 1 without packets
    48      8     last: largest stamp of a packet; 0 without packets
    56      8     packets
    64      8     lost since the segment began, as told at the last time in this section;
                  2**64 - 1: not told
    72      8     closed: stamp of the last Interface Statistics Block; 0: there is none
    80            parts up to the record's end, each 2 bytes of kind, 2 of zero, 4 of
                  length, and so many bytes; a kind that is not known is skipped.
                  Kind 1: the sketch; missing when there is none.
    then
    0       4     CRC-32 of everything before; the file ends behind it

A later version may lengthen the header and add kinds of parts without changing the
version; whoever changes the meaning of what is here changes the version.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from capd.errors import StorageError
from capd.survey import NO_STAMP, UNTOLD

SUFFIX = ".idx"
VERSION = 1
MOST_INDEX = 256 * 2**20  # bytes: what is larger is no index

_MAGIC = b"\x89capdix\n"  # as in PNG: a text-mode copy changes it
_HEADER = struct.Struct("<8sHHIQQI4x5Q")
_HEADER_SIZE = _HEADER.size + 8
_RECORD = struct.Struct("<II9Q")
_PART = struct.Struct("<H2xI")
_CHECKSUM = struct.Struct("<I")
_SKETCH = 1


class Section(NamedTuple):
    """A run of whole blocks; offsets and lengths in bytes, stamps in ns since 1970."""

    raw_offset: int
    raw_length: int
    stored_offset: int  # in the data file; as raw_* when it is not compressed
    stored_length: int
    first: int  # smallest and largest stamp, survey.NO_STAMP without a packet
    last: int
    packets: int
    lost: int  # since the segment began, or survey.UNTOLD
    closed: int  # stamp of the last statistics, 0 without any
    crc: int  # CRC-32 (zlib's) of the raw bytes
    sketch: bytes  # b"": unknown


class Totals(NamedTuple):
    """What the header tells of a segment; sizes in bytes, stamps in ns since 1970."""

    stored_size: int  # of the data file
    raw_size: int
    packets: int
    first: int  # as in a Section
    last: int
    lost: int
    closed: int


class Index(NamedTuple):
    """All sections of a segment."""

    stored_size: int  # bytes of the data file
    raw_size: int  # bytes of its pcapng, uncompressed
    link_type: int
    sections: tuple[Section, ...]

    @property
    def packets(self) -> int:
        """How many there are."""
        return sum(section.packets for section in self.sections)

    @property
    def first(self) -> int:
        """The smallest stamp, 2**64 - 1 without a packet."""
        return min((section.first for section in self.sections), default=NO_STAMP[0])

    @property
    def last(self) -> int:
        """The largest stamp, 0 without a packet."""
        return max((section.last for section in self.sections), default=NO_STAMP[1])

    @property
    def lost(self) -> int | None:
        """Packets lost since the segment began, as far as its statistics tell."""
        told = (section.lost for section in reversed(self.sections) if section.lost != UNTOLD)
        return next(told, None)

    @property
    def closed(self) -> int:
        """The stamp of the last statistics, 0 without any."""
        return next((each.closed for each in reversed(self.sections) if each.closed), 0)


def encode(index: Index) -> bytes:
    """The bytes of the file.  ValueError: the sections do not fit together."""
    problem = _misfit(index)
    if problem is not None:
        raise ValueError(problem)
    totals = _totals(index)
    head = _HEADER.pack(
        *(_MAGIC, VERSION, _HEADER_SIZE, index.link_type, index.stored_size, index.raw_size),
        *(len(index.sections), *totals[2:]),
    )
    pieces = [head, _CHECKSUM.pack(zlib.crc32(head)), bytes(4)]
    for *places_and_counts, crc, sketch in index.sections:
        part = _PART.pack(_SKETCH, len(sketch)) + sketch if sketch else b""
        pieces += [_RECORD.pack(_RECORD.size + len(part), crc, *places_and_counts), part]
    content = b"".join(pieces)
    return content + _CHECKSUM.pack(zlib.crc32(content))


def read_totals(fd: int) -> Totals:
    """What the header of an open index tells.  StorageError: it is not one, or not whole."""
    return _head(os.pread(fd, _HEADER_SIZE, 0))[2]


def _head(content: bytes) -> tuple[int, int, Totals, int]:
    """The header's length, the link type, the totals and the number of sections."""
    if content[: len(_MAGIC)] != _MAGIC:
        raise _unusable("it does not begin as one")
    if len(content) < _HEADER_SIZE:
        raise _unusable("it is cut short")
    _, version, size, link_type, stored_size, raw_size, count, *counts = _HEADER.unpack_from(
        content
    )
    if version != VERSION:
        raise _unusable(f"it is of version {version}, this capd reads version {VERSION}")
    if _CHECKSUM.unpack_from(content, _HEADER.size)[0] != zlib.crc32(content[: _HEADER.size]):
        raise _unusable("the checksum of its header is wrong")
    if size < _HEADER_SIZE:
        raise _unusable(f"its header is {size} bytes long")
    return size, link_type, Totals(stored_size, raw_size, *counts), count


def decode(content: bytes) -> Index:
    """What `encode` was given.  StorageError: this is not an index, or not a whole one."""
    size, link_type, totals, count = _head(content)
    end = len(content) - _CHECKSUM.size
    if _CHECKSUM.unpack_from(content, end)[0] != zlib.crc32(memoryview(content)[:end]):
        raise _unusable("its checksum is wrong: it is cut short, or bytes of it have changed")
    sections = tuple(_sections(content, size, end, count))
    index = Index(totals.stored_size, totals.raw_size, link_type, sections)
    problem = _misfit(index)
    if problem is None and _totals(index) != totals:
        problem = "its header tells something else than its sections"
    if problem is not None:
        raise _unusable(problem)
    return index


def _totals(index: Index) -> Totals:
    lost = UNTOLD if index.lost is None else index.lost
    packets = min(index.packets, 2**64 - 1)
    counts = (packets, index.first, index.last, lost, index.closed)
    return Totals(index.stored_size, index.raw_size, *counts)


def _unusable(why: str) -> StorageError:
    return StorageError(f"the index cannot be used: {why}")


def _sections(content: bytes, at: int, end: int, count: int) -> Iterator[Section]:
    """The records of content[at:end], which must be `count`."""
    for number in range(count):
        if end - at < _RECORD.size:
            raise _unusable(f"it ends in section {number} of {count}")
        size, crc, *fields = _RECORD.unpack_from(content, at)
        if not _RECORD.size <= size <= end - at:
            raise _unusable(f"the record of section {number} is {size} bytes long")
        sketch = _sketch(content, at + _RECORD.size, at + size)
        yield Section._make((*fields, crc, sketch))
        at += size
    if at != end:
        raise _unusable(f"{end - at} bytes follow its last section")


def _sketch(content: bytes, at: int, end: int) -> bytes:
    """The sketch among the parts in content[at:end]."""
    found = b""
    while at < end:
        if end - at < _PART.size:
            raise _unusable("a part of a section is cut short")
        kind, size = _PART.unpack_from(content, at)
        at += _PART.size
        if size > end - at:
            raise _unusable("a part of a section is longer than the section's record")
        if kind == _SKETCH:
            found = content[at : at + size]
        at += size
    return found


def _misfit(index: Index) -> str | None:
    """Why the sections cannot be those of one segment."""
    raw = stored = 0
    for number, section in enumerate(index.sections):
        if section.raw_offset != raw:
            return f"section {number} begins at byte {section.raw_offset:,}, not at {raw:,}"
        if section.stored_offset < stored:
            return f"section {number} begins in the stored bytes of the one before"
        raw += section.raw_length
        stored = section.stored_offset + section.stored_length
    if raw != index.raw_size:
        return f"its sections hold {raw:,} bytes of {index.raw_size:,}"
    if stored > index.stored_size:
        return f"its sections end at byte {stored:,} of a file of {index.stored_size:,}"
    return None
