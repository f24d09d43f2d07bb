"""The index of a compressed segment that lost it, found again by reading the frame once.

Nothing in a frame tells where a section begins.  But it begins with a zstd block, at the end of
a pcapng block, and what follows does not refer to anything before: such places are looked for,
and each is tried.  A frame that has none of them, of somebody else's making, is one section.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import zstandard
from isal.isal_zlib import crc32

from capd.archive.compressor import Between, section_of
from capd.archive.direct import Reader
from capd.errors import StorageError
from capd.index import Index, Section
from capd.sections import decode_section
from capd.survey import BAD, NO_STAMP, UNKNOWN_LINK, UNTOLD, Survey, survey

MOST = 64 * 2**20  # bytes of pcapng in which a section must end, lest there be only one
_HEAD = 18  # bytes of the longest frame header
_BLOCK_HEAD = 3
_LARGEST_BLOCK = 128 * 1024
_REPEATED = 1  # the type of a block that is one byte, whatever its size says


class _Block(NamedTuple):
    """One block of a frame: its bytes, and what it decodes to."""

    stored: bytes
    raw: bytes


class _Place(NamedTuple):
    """A boundary, by bytes since the open section's start."""

    raw: int
    stored: int


def rebuild(source: Reader, between: Between) -> Index:
    """StorageError: this is not one whole zstd frame with a whole segment in it."""
    try:
        blocks = _Blocks(source)
        search = _Search(blocks.start)
        done = 0
        for block in blocks:
            done += len(block.raw)
            if done >= 32 * _LARGEST_BLOCK:
                between()
                done = 0
            search.add(block)
    except zstandard.ZstdError as error:
        raise StorageError(f"it cannot be decoded: {error}") from error
    return Index(source.size, search.total, search.link_type, search.finish())


class _Blocks:
    """The blocks of the only frame in a file."""

    def __init__(self, source: Reader) -> None:
        source.fill(_HEAD)
        head = bytes(source.window[:_HEAD])
        self.start = zstandard.frame_header_size(head)  # where the first one begins
        told = zstandard.get_frame_parameters(head)
        self._checksum = 4 * told.has_checksum
        self._size = told.content_size
        self._source = source
        self._decoder = zstandard.ZstdDecompressor().decompressobj()
        self._decoder.decompress(self._next(self.start))

    def __iter__(self) -> Iterator[_Block]:
        last, total = False, 0
        while not last:
            self._source.fill(_BLOCK_HEAD + _LARGEST_BLOCK)
            head = int.from_bytes(self._source.window[:_BLOCK_HEAD], "little")
            last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
            stored = self._next(_BLOCK_HEAD + (1 if kind == _REPEATED else size))
            raw = self._decoder.decompress(stored)
            total += len(raw)
            yield _Block(stored, raw)
        if self._checksum:
            self._decoder.decompress(self._next(self._checksum))
        if self._source.offset != self._source.size or not self._decoder.eof:
            raise StorageError("it is not one zstd frame, and nothing else")
        if self._size not in {total, zstandard.CONTENTSIZE_UNKNOWN}:
            raise StorageError(f"it has {total:,} bytes in it, and claims {self._size:,}")

    def _next(self, count: int) -> bytes:
        content = bytes(self._source.window[:count])
        if len(content) < count:
            raise StorageError("it is cut short")
        self._source.take(count)
        return content


class _Search:
    """What has been read of a segment, and the sections found in it.

    The open section begins at `_base`; that it decodes alone up to `_cut` was tried.
    """

    def __init__(self, start: int) -> None:
        self.total = 0  # raw bytes
        self.link_type = UNKNOWN_LINK
        self._start = start
        self._stored_total = 0
        self._sections: list[Section] = []
        self._one = False  # it can only be one
        self._base = _Place(0, start)  # in the file
        self._base_link = UNKNOWN_LINK
        self._raw, self._stored = bytearray(), bytearray()  # of the open section
        self._walked = 0  # bytes of `_raw` that are whole pcapng blocks
        self._cut: _Place | None = None
        self._crc = 0
        self._seen = Survey(0, 0, UNKNOWN_LINK, 0, *NO_STAMP, UNTOLD, 0, b"")

    def add(self, block: _Block) -> None:
        """The next block of the frame."""
        self.total += len(block.raw)
        self._stored_total += len(block.stored)
        self._crc = crc32(block.raw, self._crc)
        self._raw += block.raw
        self._walk()
        if self._one:
            del self._raw[: self._walked]
            self._walked = 0
            return
        self._stored += block.stored
        if self._walked == len(self._raw) and block.raw:
            self._try(_Place(len(self._raw), len(self._stored)))
        elif len(self._raw) > MOST:
            self._one = True

    def finish(self) -> tuple[Section, ...]:
        """All sections, at the frame's end."""
        if self._walked != len(self._raw) or self.link_type == UNKNOWN_LINK:
            raise StorageError("the segment in it is cut short")
        if self._one or self._cut is None:
            return (self._single(),)
        self._close(self._cut)
        return tuple(self._sections)

    def _walk(self) -> None:
        found = survey(self._raw, self._walked, len(self._raw), self.link_type)
        if found.fault == BAD:
            at = self.total - len(self._raw) + found.end
            raise StorageError(f"the block at byte {at:,} of what it holds is not one of capd's")
        self._walked, self.link_type = found.end, found.link_type
        self._seen = Survey(
            end=0,
            fault=0,
            link_type=found.link_type,
            packets=self._seen.packets + found.packets,
            first=min(self._seen.first, found.first),
            last=max(self._seen.last, found.last),
            lost=self._seen.lost if found.lost == UNTOLD else found.lost,
            closed=found.closed or self._seen.closed,
            sketch=b"",
        )

    def _try(self, place: _Place) -> None:
        """Whether a section can end here, and another have ended at the place before."""
        start = self._cut or _Place(0, 0)
        if self._cut and self._alone(self._cut, place):
            self._close(self._cut)
            self._cut = _Place(place.raw - start.raw, place.stored - start.stored)
        elif self._alone(_Place(0, 0), place):
            self._cut = place
        else:
            self._one = True

    def _alone(self, start: _Place, end: _Place) -> bool:
        stored = bytes(self._stored[start.stored : end.stored])
        raw = self._raw[start.raw : end.raw]
        try:
            return decode_section(stored, len(raw)) == raw
        except StorageError:
            return False

    def _close(self, end: _Place) -> None:
        """The open section ends here; the next one is open."""
        raw = bytes(self._raw[: end.raw])
        found = survey(raw, 0, len(raw), self._base_link, sketch=True)
        section = section_of(self._base.raw, raw, found, self._base.stored, end.stored)
        self._sections.append(section)
        self._base = _Place(self._base.raw + end.raw, self._base.stored + end.stored)
        self._base_link = found.link_type
        del self._raw[: end.raw]
        del self._stored[: end.stored]
        self._walked -= end.raw

    def _single(self) -> Section:
        whole = section_of(0, b"", self._seen, self._start, self._stored_total)
        return whole._replace(raw_length=self.total, crc=self._crc)
