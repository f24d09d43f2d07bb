"""One segment, section by section: surveyed, and compressed into one zstd frame if wanted.

libzstd's multi-threaded mode, with one worker and jobs that do not overlap, makes sections
that do not refer to each other inside one ordinary frame: each is flushed at the end of a
pcapng block.  Every section is decoded alone and compared with what it was made of, before
anybody can rely on it.  This module turns bytes into bytes and an index; files, their names,
and the order of things are `keeping.py`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import zstandard
from isal.isal_zlib import crc32
from zstandard import ZstdCompressionParameters

from capd.archive.direct import Reader, Writer
from capd.errors import CapdError, StorageError
from capd.index import Index, Section
from capd.sections import decode_section
from capd.survey import BAD, SHORT, UNKNOWN_LINK, Survey, survey

# Below this, libzstd compresses in one thread, where sections do refer to each other.
LEAST_SECTION = 512 * 1024
LARGEST_BLOCK = 4 * 2**20  # bytes, and some: what the survey takes for a block of capd's
ROOM = LARGEST_BLOCK + 64 * 1024
CHUNK = 1024 * 1024

Between = Callable[[], None]  # called before each section: it may wait, and it may raise


class MismatchError(CapdError):
    """A compressed section did not come back as what it was made of."""


class Compressed(NamedTuple):
    """What came of it."""

    contents: Index
    verification: int  # ns of CPU time, all in the calling thread


def room(section_size: int) -> int:
    """The room that a `Reader` needs."""
    return max(section_size, LEAST_SECTION) + ROOM


def examine(source: Reader, section_size: int, between: Between) -> Index:
    """The index of a segment that stays as it is.  StorageError: it is not whole."""
    sections = []
    link_type = UNKNOWN_LINK
    for raw, found in _stretches(source, section_size, between):
        sections.append(section_of(source.offset, raw, found, source.offset, len(raw)))
        link_type = found.link_type
    return Index(source.size, source.size, link_type, tuple(sections))


def compress(
    source: Reader, target: Writer, level: int, section_size: int, between: Between
) -> Compressed:
    """Write a segment as one frame.  StorageError: it is not whole, and what is written is void."""
    maker = zstandard.ZstdCompressor(compression_params=_parameters(level, section_size, source))
    chunker = maker.chunker(size=source.size, chunk_size=CHUNK)
    sections: list[Section] = []
    link_type, spent = UNKNOWN_LINK, 0
    for raw, found in _stretches(source, section_size, between):
        stored = b"".join([*chunker.compress(raw), *chunker.flush()])  # type: ignore[no-untyped-call]
        if not sections:
            head = zstandard.frame_header_size(stored)
            target.append(stored[:head])
            stored = stored[head:]
        spent += _verify(stored, raw, source.offset)
        sections.append(section_of(source.offset, raw, found, target.length, len(stored)))
        target.append(stored)
        link_type = found.link_type
    for chunk in chunker.finish():  # type: ignore[no-untyped-call]
        target.append(chunk)
    contents = Index(target.length, source.size, link_type, tuple(sections))
    return Compressed(contents, spent)


def section_of(
    offset: int, raw: bytes | memoryview, found: Survey, stored: int, stored_length: int
) -> Section:
    """The index's record of a section: its raw bytes, their survey, where they are stored."""
    return Section(
        raw_offset=offset,
        raw_length=len(raw),
        stored_offset=stored,
        stored_length=stored_length,
        first=found.first,
        last=found.last,
        packets=found.packets,
        lost=found.lost,
        closed=found.closed,
        crc=crc32(raw),
        sketch=found.sketch,
    )


def _parameters(level: int, section_size: int, source: Reader) -> ZstdCompressionParameters:
    return ZstdCompressionParameters.from_level(
        level,
        source_size=source.size,
        threads=1,
        overlap_log=1,  # none
        job_size=max(section_size, LEAST_SECTION),
        write_checksum=True,
        write_content_size=True,
    )


def _verify(stored: bytes, raw: memoryview, offset: int) -> int:
    """How long it took, in ns of CPU time."""
    began = time.thread_time_ns()
    try:
        back = decode_section(stored, len(raw))
    except StorageError as error:
        text = f"the section at byte {offset:,} does not come back: {error}"
        raise MismatchError(text) from error
    # `startswith` compares memory; `==` of memoryviews takes longer than the decoding.
    if len(back) != len(raw) or not back.startswith(raw):
        raise MismatchError(f"the section at byte {offset:,} comes back changed")
    return time.thread_time_ns() - began


def _stretches(
    source: Reader, section_size: int, between: Between
) -> Iterator[tuple[memoryview, Survey]]:
    """Each section's raw bytes, which stand in the source's window, and what is in them."""
    size = max(section_size, LEAST_SECTION)
    link_type = UNKNOWN_LINK
    while source.offset < source.size or link_type == UNKNOWN_LINK:
        between()
        source.fill(size)
        found = _survey(source, size, link_type)
        if found.end == 0 and found.fault == SHORT and not source.whole:
            source.fill(size + ROOM)
            found = _survey(source, size, link_type)
        torn = not found.end or (found.fault == SHORT and source.whole)
        if found.fault == BAD or torn:
            what = "is not one that capd writes" if found.fault == BAD else "is cut short"
            raise StorageError(f"the block at byte {source.offset + found.end:,} {what}")
        yield source.window[: found.end], found
        link_type = found.link_type
        source.take(found.end)


def _survey(source: Reader, size: int, link_type: int) -> Survey:
    window = source.window
    return survey(window, 0, min(size, len(window)), link_type, sketch=True)
