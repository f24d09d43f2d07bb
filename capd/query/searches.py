"""Searching stored segments: piece by piece, in several threads, skipping what cannot match.

With an index, the pieces are its sections: each can be read alone, so they are searched side by
side, and those are not even read whose stamps or sketches say that nothing wanted is inside.
Without one a segment is walked from its beginning.  A piece that is damaged costs what is
behind the damage in it, and is named.  A section out of which packets are given is compared with
its checksum, and is named if its bytes are others than were recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import zstandard
from isal.isal_zlib import crc32

from capd import index as indexes
from capd.errors import CapdError, FilterError, StorageError
from capd.index import MOST_INDEX, Index, Section
from capd.query.edge import Edge
from capd.query.frame import told_size
from capd.query.matcher import Matched, Matcher
from capd.query.reading import PIECE, Buffers, Reader, Stream
from capd.query.source import Source
from capd.query.sources import Wanted
from capd.sections import FRAME_HEAD, decode_into, frame_size, is_compressed
from capd.survey import BAD, MOST_BLOCK, SHORT, UNKNOWN_LINK, Content, survey
from capd.units import SECOND, format_count

# Bytes: an index that tells of larger ones is not believed.  The config allows half of it.
MOST_SECTION = 128 * 2**20
MOST_LINK_TYPE = 2**16 - 1
WINDOW = SECOND // 10  # ns: how far packets of a ring may be out of order, and are put right
NEVER = 2**63 - 1  # ns


@dataclass
class Found:
    """What came of searching a piece; what is in the content belongs to whoever has this."""

    content: Content = b""
    entries: bytearray = field(default_factory=bytearray)  # where in the content matches are
    link_type: int = UNKNOWN_LINK
    looked_at: int = 0  # bytes of the file
    packets: int = 0
    undirected: int = 0
    bound: int = 0  # ns: nothing that follows in the segment is stamped before
    trouble: str = ""
    refused: str = ""  # why the filter is none for this kind of link


@dataclass(frozen=True)
class Tools:
    """What all searches of an extraction have in common."""

    wanted: Wanted
    matcher: Matcher
    buffers: Buffers
    pool: Executor
    edge: Edge | None = None  # None: what is there now is all there will be


def search(held: Source, tools: Tools) -> Iterator[Future[Found] | None]:
    """The pieces of one segment, in order; None where more may come, and is not there yet."""
    if held.is_open and tools.edge is not None:
        return _LiveWalk(held, tools, tools.edge).futures()
    index = _usable_index(held)
    if index is not None:
        return _Sections(held, tools, index).futures()
    walk = _CompressedWalk if held.compressed else _Walk
    return walk(held, tools).futures()


def _usable_index(held: Source) -> Index | None:
    if held.index is None:
        return None
    try:
        index = indexes.decode(held.index.read(MOST_INDEX))
    except (OSError, StorageError):
        return None
    lengths = (max(each.raw_length, each.stored_length) for each in index.sections)
    largest = max(lengths, default=0)
    sound = largest <= MOST_SECTION and index.link_type <= MOST_LINK_TYPE
    return index if sound and is_compressed(index) == held.compressed else None


class _Sections:
    """A segment by its index."""

    def __init__(self, held: Source, tools: Tools, index: Index) -> None:
        self._held = held
        self._tools = tools
        self._index = index
        self._reader = Reader(held.data.fileno())

    def futures(self) -> Iterator[Future[Found] | None]:
        """Those of the sections in which something may be; before them, what is known of all."""
        inside = [section for section in self._index.sections if self._is_inside(section)]
        if inside and (refused := _refused(self._tools.matcher, self._index.link_type)):
            link_type, looked_at = self._index.link_type, _stored(inside)
            yield _done(Found(link_type=link_type, looked_at=looked_at, refused=refused))
            return
        conditions = self._tools.matcher.conditions(self._index.link_type)
        chosen = [section for section in inside if conditions.may_match(section.sketch)]
        if len(chosen) < len(inside):
            skipped = _stored(inside) - _stored(chosen)
            yield _done(Found(link_type=self._index.link_type, looked_at=skipped))
        bounds = [NEVER]
        for section in reversed(chosen[1:]):
            bounds.append(min(bounds[-1], section.first))
        for section, bound in zip(chosen, reversed(bounds), strict=False):
            yield self._tools.pool.submit(self._search, section, bound)

    def _is_inside(self, section: Section) -> bool:
        wanted = self._tools.wanted
        inside = section.first < wanted.until and section.last >= wanted.since
        return inside and section.packets > 0

    def _search(self, section: Section, bound: int) -> Found:
        found = Found(looked_at=section.stored_length, bound=bound)
        where = f"{self._held.path}, section at byte {format_count(section.raw_offset)}"
        try:
            found.content = self._content(section)
            start, found.link_type = 0, self._index.link_type
            if section.raw_offset == 0:
                start, found.link_type = _head(found.content, section.raw_length)
            matcher = self._tools.matcher
            matched = matcher.search(found.content, start, section.raw_length, found.link_type)
        except (OSError, CapdError) as error:
            found.trouble = f"{where}: {_reason(error)}"
            return found
        if matched.entries and _changed(found.content, section):
            found.trouble = f"{where}: not what was recorded; packets of it may be changed"
        _take(found, matched, self._tools.buffers)
        if matched.end != section.raw_length:
            missing = format_count(section.raw_length - matched.end)
            found.trouble = f"{where}: its last {missing} bytes are damaged, and not searched"
        return found

    def _content(self, section: Section) -> bytearray:
        """The section's bytes, and behind them whatever was in the buffer."""
        buffers, stored = self._tools.buffers, section.stored_length
        if not self._held.compressed:
            content = buffers.take(max(PIECE, stored))
            count = self._read(content, section)
        else:
            frame = buffers.take(max(PIECE, frame_size(stored)))
            with memoryview(frame)[FRAME_HEAD:] as room:
                self._read(room, section)
            content = buffers.take(max(PIECE, section.raw_length))
            count = decode_into(content, section.raw_length, frame, stored)
            buffers.give(frame)
        if count != section.raw_length:
            raise StorageError("it is not as long as the index says")
        return content

    def _read(self, buffer: bytearray | memoryview, section: Section) -> int:
        count = self._reader.read(buffer, section.stored_length, section.stored_offset)
        if count < section.stored_length:
            raise StorageError("the file ends before it does")
        return count


class _Walk:
    """A segment without an index, from its beginning to its end."""

    def __init__(self, held: Source, tools: Tools) -> None:
        self._held = held
        self._tools = tools
        self._link_type = UNKNOWN_LINK
        self._at = 0  # bytes of pcapng that are searched
        self._ended = False
        self._reader = Reader(held.data.fileno())

    def futures(self) -> Iterator[Future[Found] | None]:
        """One piece after the other: where the next begins is known when one is done."""
        while not self._ended:
            future = self._tools.pool.submit(self._step)
            yield future
            future.result()

    def _step(self) -> Found:
        found = Found()
        try:
            content, size = self._piece()
            if size == 0:
                self._ended = True
                return found
            self._search(found, content, size)
        except (OSError, CapdError, zstandard.ZstdError) as error:
            where = f"{self._held.path}, byte {format_count(self._at)}"
            found.trouble = f"{where}: {_reason(error)}"
            self._ended = True
        return found

    def _piece(self) -> tuple[bytearray | bytes, int]:
        """What follows `at`, a block at least, and how long it is; nothing at the end."""
        buffer = self._tools.buffers.take(PIECE + MOST_BLOCK)
        return buffer, self._reader.read(buffer, len(buffer), self._at)

    def _search(self, found: Found, content: bytearray | bytes, size: int) -> None:
        start = 0
        if self._at == 0:
            start, self._link_type = _head(content, size)
        found.content, found.link_type = content, self._link_type
        found.refused = _refused(self._tools.matcher, self._link_type)
        if found.refused:
            self._ended = True
            return
        matched = self._tools.matcher.search(content, start, size, self._link_type)
        _take(found, matched, self._tools.buffers)
        found.looked_at = matched.end
        found.bound = max(0, matched.newest - WINDOW)
        if matched.fault == BAD or matched.end == 0:
            self._ended = True
            if not (self._held.is_open and matched.fault == SHORT):
                where = f"{self._held.path}: no whole block at byte"
                at = format_count(self._at + matched.end)
                found.trouble = f"{where} {at}; the rest is not searched"
        self._at += matched.end


class _LiveWalk(_Walk):
    """A segment that is being written, as far as its bytes are settled."""

    def __init__(self, held: Source, tools: Tools, edge: Edge) -> None:
        super().__init__(held, tools)
        self._edge = edge
        self._settled: int | None = 0

    def futures(self) -> Iterator[Future[Found] | None]:
        """Those that can be searched now, until it is finished and has been read."""
        while not self._ended:
            self._settled = self._edge.settled(self._held)
            if self._settled is not None and self._settled <= self._at:
                yield None
                continue
            future = self._tools.pool.submit(self._step)
            yield future
            future.result()

    def _piece(self) -> tuple[bytearray | bytes, int]:
        content, size = super()._piece()
        return content, size if self._settled is None else min(size, self._settled - self._at)


class _CompressedWalk(_Walk):
    """The same through a decoder, which only goes forward."""

    def __init__(self, held: Source, tools: Tools) -> None:
        super().__init__(held, tools)
        source = cast(BinaryIO, Stream(self._reader))  # of which a decoder needs no more
        self._source = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        self._rest = b""
        self._read = 0

    def _piece(self) -> tuple[bytearray | bytes, int]:
        rest = self._rest[self._at - self._read :]
        self._read = self._at
        fresh = self._source.read(PIECE + MOST_BLOCK - len(rest))
        self._rest = rest + fresh
        if not self._rest:  # a decoder does not complain of a frame that is cut short
            told_size(self._held.data.fileno())
        return self._rest, len(self._rest)


def _stored(sections: Iterable[Section]) -> int:
    return sum(section.stored_length for section in sections)


def _refused(matcher: Matcher, link_type: int) -> str:
    """Why the filter is none for this kind of link; "" if it is one."""
    try:
        matcher.program(link_type)
    except FilterError as error:
        return str(error)
    return ""


def _done(found: Found) -> Future[Found]:
    future: Future[Found] = Future()
    future.set_result(found)
    return future


def _changed(content: Content, section: Section) -> bool:
    """Whether a section, at the start of `content`, has another checksum than its index says."""
    with memoryview(content)[: section.raw_length] as raw:
        return crc32(raw) != section.crc


def _head(content: Content, size: int) -> tuple[int, int]:
    """Where a segment's head ends, and its link type.  StorageError."""
    head = survey(memoryview(content)[:size], 0, min(size, 1))
    if head.link_type == UNKNOWN_LINK:
        raise StorageError("it does not begin as a segment")
    return head.end, head.link_type


def _take(found: Found, matched: Matched, buffers: Buffers) -> None:
    """What was found is kept, with the content if anything in it is wanted."""
    found.packets, found.undirected = matched.packets, matched.undirected
    found.entries = matched.entries
    if not matched.entries:
        buffers.give(found.content)
        found.content = b""


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
