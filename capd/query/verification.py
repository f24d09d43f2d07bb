"""`capd verify`: whether every segment is whole, by reading all of it back.

Structure, checksums and index are compared with each other; nothing is changed, and what is wrong
is named, not mended.  How far it has come is told to whoever shows it.  It takes hours, in which
segments are compressed, moved and deleted: one that is not where it was listed is looked for again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import BinaryIO, NamedTuple, Protocol

import zstandard
from isal.isal_zlib import crc32

from capd.catalog import Catalog, Segment
from capd.errors import StorageError
from capd.index import Index, Section
from capd.names import COMPRESSED_SUFFIX, DAMAGED_SUFFIX
from capd.query.frame import told_size
from capd.query.holdings import Located, absence, located, look_again, read_index
from capd.query.reading import PIECE
from capd.sections import read_section
from capd.segment_files import open_data
from capd.survey import BAD, MOST_BLOCK, UNKNOWN_LINK, survey
from capd.units import format_count

_LOOKS = 5  # at the directories; compressed and moved, a segment has four names one after the other

_Key = tuple[str, int, int]  # ring, number and stamp: what a segment keeps under all its names


class Verdict(NamedTuple):
    """Of one segment."""

    path: str
    problem: str | None  # None: it is whole
    packets: int  # that were found in it
    indexed: bool
    deleted: bool = False  # before it could be read


@dataclass
class Summary:
    """Of several."""

    segments: int = 0
    packets: int = 0
    without_index: int = 0
    deleted: int = 0  # before they could be read; they are not among the segments
    wrong: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """One more."""
        if verdict.deleted:
            self.deleted += 1
            return
        self.segments += 1
        self.packets += verdict.packets
        self.without_index += not verdict.indexed
        if verdict.problem is not None:
            self.wrong.append(verdict)

    def text(self) -> str:
        """In a line."""
        text = f"{format_count(self.segments)} segments, {format_count(self.packets)} packets: "
        text += f"{format_count(len(self.wrong))} are not whole" if self.wrong else "all whole"
        if self.without_index:
            text += f"; {format_count(self.without_index)} have no index to compare with"
        if self.deleted:
            text += f"; {format_count(self.deleted)} were deleted meanwhile"
        return text

    def as_json(self) -> str:
        """For programs."""
        wrong = [{"path": one.path, "problem": one.problem} for one in self.wrong]
        return json.dumps(asdict(self) | {"wrong": wrong})


class Source(Protocol):
    """Gives a segment's pcapng bytes, in order."""

    def read(self, size: int, /) -> bytes: ...


class Verification:
    """Of all that is listed in some directories, the capture directory first."""

    def __init__(self, directories: Sequence[str], rings: Iterable[str] = ()) -> None:
        """`rings`: of these only, or of all.  StorageError if the first cannot be read."""
        self.troubles: list[str] = []  # what cannot be looked at, and why
        self._catalogs = [Catalog(directory) for directory in directories]
        self._rings = tuple(rings)
        self._listed = self._look()
        listed = {ring for ring, _, _ in self._listed}
        self.absent = [absence(ring) for ring in dict.fromkeys(self._rings) if ring not in listed]

    @property
    def size(self) -> int:
        """Bytes on the disk that are to be read."""
        return sum(one.segment.size for one in self._listed.values())

    def verdicts(self, advance: Callable[[int], None]) -> Iterator[Verdict]:
        """One on each; `advance` is told of bytes on the disk that were looked at.

        StorageError if the first directory cannot be read any more.
        """
        missing = dict(self._listed)
        found = self._listed
        for _ in range(_LOOKS):
            for key, (directory, segment) in found.items():
                verdict = _verdict(directory, segment)
                if verdict is not None:
                    yield verdict
                    advance(missing.pop(key).segment.size)
            if not missing:
                return
            now = self._look()
            found = {key: now[key] for key in missing if key in now}
        for key, (directory, segment) in missing.items():
            path = f"{directory}/{segment.path}"
            if key in found or self.troubles:
                text = "is not where it was listed, and was not found elsewhere; it was not read"
                yield Verdict(path, text, 0, segment.indexed)
            else:
                yield Verdict(path, None, 0, segment.indexed, deleted=True)
            advance(segment.size)

    def _look(self) -> dict[_Key, Located]:
        wanted = self._rings
        places, troubles = look_again(self._catalogs, lambda ring: not wanted or ring in wanted)
        self.troubles += [trouble for trouble in troubles if trouble not in self.troubles]
        return {_key(one.segment): one for one in located(places)}


def _key(segment: Segment) -> _Key:
    return segment.ring, segment.seq, segment.stamp


def _verdict(directory: str, segment: Segment) -> Verdict | None:
    """None: it was compressed, moved or deleted meanwhile."""
    reader = _Reader()
    problem: str | None
    try:
        problem = _problem(directory, segment, reader)
    except FileNotFoundError:
        return None
    except StorageError as error:
        problem = str(error)
    except zstandard.ZstdError as error:
        problem = f"cannot be decompressed: {error}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    return Verdict(f"{directory}/{segment.path}", problem, reader.packets, segment.indexed)


class _Reader:
    """Walks one segment's bytes, and counts."""

    def __init__(self) -> None:
        self.packets = 0
        self.size = 0  # bytes that were whole blocks
        self._link_type = UNKNOWN_LINK

    def section(self, content: bytes, section: Section) -> str | None:
        """What is wrong with a section that the index tells of."""
        where = f"section at byte {section.raw_offset:,}"
        if len(content) != section.raw_length:
            return f"ends in the {where}, after {len(content):,} of {section.raw_length:,} bytes"
        found = survey(content, 0, len(content), self._link_type)
        self._link_type = found.link_type
        self.packets += found.packets
        self.size += found.end
        if found.end != len(content):
            return f"no whole block at byte {section.raw_offset + found.end:,}"
        if crc32(content) != section.crc:
            return f"bytes of the {where} have changed: its checksum is another"
        told = (section.packets, section.first, section.last, section.lost, section.closed)
        if told != (found.packets, found.first, found.last, found.lost, found.closed):
            return f"the index tells something else of the {where} than is in it"
        return None

    def everything(self, source: Source) -> str | None:
        """What is wrong with a segment without an index."""
        rest = b""
        while piece := source.read(PIECE):
            content = rest + piece
            found = survey(content, 0, len(content), self._link_type)
            self._link_type = found.link_type
            self.packets += found.packets
            if found.fault == BAD or len(content) - found.end > MOST_BLOCK:
                return f"no whole block at byte {self.size + found.end:,}"
            rest = content[found.end :]
            self.size += found.end
        if rest:
            return f"ends in the block at byte {self.size:,}"
        return "is empty" if self._link_type == UNKNOWN_LINK else None


def _problem(directory: str, segment: Segment, reader: _Reader) -> str | None:
    """Why a segment is not whole, as far as that is no error of reading it."""
    if segment.suffix == DAMAGED_SUFFIX:
        return "was set aside: what a run that was cut off had left in it was not understood"
    with open_data(directory, segment) as file:
        index = read_index(directory, segment)
        return _content_problem(file, segment, index, reader)


def _content_problem(
    file: BinaryIO, segment: Segment, index: Index | None, reader: _Reader
) -> str | None:
    if segment.suffix != COMPRESSED_SUFFIX:
        return _read_all(file, file, index, reader)
    # What follows the frame would have to be another one.
    source = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    problem = _read_all(file, source, index, reader)
    if problem is not None:
        return problem
    told = told_size(file.fileno())
    if told not in (None, reader.size):
        return f"holds {reader.size:,} bytes, and its zstd frame says {told:,}"
    return None


def _read_all(file: BinaryIO, source: Source, index: Index | None, reader: _Reader) -> str | None:
    """What is wrong with what `source` makes of `file`."""
    if index is None:
        return reader.everything(source)
    for number, section in enumerate(index.sections):
        content = _exactly(source, section.raw_length)
        problem = reader.section(content, section)
        if problem is None and source is not file:
            problem = _alone_problem(file, index, number, content)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if problem is not None:
            return problem
    if source.read(1):
        return f"goes on behind its last section, at byte {index.raw_size:,}"
    return None


def _alone_problem(file: BinaryIO, index: Index, number: int, content: bytes) -> str | None:
    if read_section(file.fileno(), index, number) == content:
        return None
    return f"the section at byte {index.sections[number].raw_offset:,} cannot be read by itself"


def _exactly(source: Source, size: int) -> bytes:
    """So many bytes, or fewer at the end."""
    pieces = []
    while size > 0 and (piece := source.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
