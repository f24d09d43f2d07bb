"""Any bytes as an index, as a sketch in it, or as a compressed section or segment.

What must hold: an index or a StorageError; what was understood is written as it was read; and no
more memory than a section may have.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator

import zstandard

from capd import index, sections
from capd.archive.pieces import PIECE
from capd.errors import StorageError
from capd.query.conditions import Conditions
from capd.query.frame import told_size
from capd.sketch import Sketch
from capd.survey import NO_STAMP, UNTOLD, survey
from tests.fuzzing import refusal
from tests.support.matching import programs
from tests.support.surveying import epb, segment

_SUMS_END = 80  # bytes of the header that its checksum is of
_RAW, _SEALED, _SKETCH, _FRAME, _SECTION = range(5)
_PROGRAMS = ("ip", "vlan")


def seeds() -> Iterator[bytes]:
    """Those of a small segment."""
    content = segment([bytes(12) + b"\x08\x00\x45" + bytes(40), bytes(12) + b"\x81\x00" + bytes(9)])
    sketch = survey(content, 0, len(content), sketch=True).sketch
    small = sketch[:45]  # the whole parts in it
    first = index.Section(0, 400, 0, 100, 50, 70, 3, UNTOLD, 0, 0xFFFFFFFF, small)
    second = index.Section(400, 600, 100, 300, *NO_STAMP, 0, 9, 99, 7, b"")
    for made in (index.Index(440, 1000, 1, (first, second)), index.Index(0, 0, 1, ())):
        yield bytes([_RAW]) + index.encode(made)
        yield bytes([_SEALED]) + index.encode(made)[:-4]
    yield bytes([_SKETCH]) + sketch
    yield bytes([_SKETCH]) + small
    for data in (epb(bytes(60)), bytes(3000)):
        frame = zstandard.ZstdCompressor(write_checksum=True).compress(data)
        yield bytes([_FRAME]) + frame
        body = frame[zstandard.frame_header_size(frame) :]
        yield bytes([_SECTION]) + struct.pack("<I", len(data)) + body


def check(data: bytes) -> None:
    """Whichever it is."""
    content = data[1:]
    try:
        match data[:1]:
            case b"\0":
                _index(content)
            case b"\1":
                _index(_sealed(content))
            case b"\2":
                _sketch(content)
            case b"\3":
                _frame(content)
            case b"\4" if len(content) >= 4:
                _section(content[4:], struct.unpack_from("<I", content)[0])
    except StorageError as error:
        refusal.check(error)


def _sealed(content: bytes) -> bytes:
    """With the right checksums in it and behind it, so that they hide nothing."""
    if len(content) > _SUMS_END + 4:
        head = content[:_SUMS_END]
        content = head + struct.pack("<I", zlib.crc32(head)) + content[_SUMS_END + 4 :]
    return content + struct.pack("<I", zlib.crc32(content))


def _index(content: bytes) -> None:
    found = index.decode(content)
    assert index.decode(index.encode(found)) == found
    with open(os.memfd_create("index"), "w+b", buffering=0) as file:
        file.write(content)
        totals = index.read_totals(file.fileno())
    told = (found.stored_size, found.raw_size, min(found.packets, 2**64 - 1), found.first)
    assert totals[:4] == told
    for section in found.sections:
        _sketch(section.sketch)


def _sketch(content: bytes) -> None:
    for text in _PROGRAMS:  # which must not mind whatever is in it
        Conditions.of(programs(1)[text], 1).may_match(content)
    found = Sketch.decode(content)
    found.may_hold_tag()
    found.may_hold_fragment()
    for number in (0, 80, 1023, 1024, 40000, 65535):
        found.may_hold_port(number)
        found.may_hold_ethertype(number)
        found.may_hold_protocol(number % 256)


def _frame(content: bytes) -> None:
    with open(os.memfd_create("frame"), "w+b", buffering=0) as file:
        file.write(content)
        try:
            told_size(file.fileno())
        except zstandard.ZstdError:
            return


def _section(content: bytes, length: int) -> None:
    length %= PIECE
    frame = bytearray(sections.frame_size(len(content)))
    frame[sections.FRAME_HEAD : sections.FRAME_HEAD + len(content)] = content
    into = bytearray(length + 8)
    came = sections.decode_into(into, length, frame, len(content))
    assert 0 <= came <= length
    assert into[length:] == bytes(8)
    if came == length:
        assert sections.decode_section(content, length) == into[:length]
