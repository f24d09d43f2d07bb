"""An archive to search, of any size, made in little time and nothing twice in it.

One piece of traffic (tests/support/traffic.py) is written again and again, each time with other
stamps and other clients, so that no two sections are alike to an index or to a compressor.  The
indexes, and the compressed segments, are what the archive process makes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from capd import index as indexes
from capd import pcapng
from capd.names import SegmentName
from tests.support.compressing import compress_file, examine_file
from tests.support.traffic import MIB, START, Traffic, head, packet_block

RING = "v0"
GAP = 30_000  # ns between packets: some 100 Mb/s, so ten seconds are half a segment
PIECE = 64 * MIB
SECTION = 4 * MIB
LEVEL = 3
_STAMP, _CLIENT = 12, 28 + 14 + 12  # where they are in a block: client is the IPv4 source

_STAMPS = struct.Struct("=II")
_CLIENTS = struct.Struct(">BH")


@dataclass(frozen=True)
class Archive:
    """A capture directory with one ring in it, and the configuration that names it."""

    directory: Path
    segments: tuple[Path, ...]
    packets: int
    raw: int  # bytes of pcapng
    stored: int  # bytes of the segments' data
    indexes: int  # bytes of the indexes
    first: int  # stamps, ns since 1970
    last: int

    @property
    def config(self) -> Path:
        """What `--config` takes."""
        return self.directory.with_suffix(".toml")


class Piece:
    """Packets that can be written many times."""

    def __init__(self, size: int = PIECE) -> None:
        self._content = bytearray()
        self._places: list[int] = []
        frames = Traffic(pool=32 * MIB).frames()
        while len(self._content) < size:
            self._places.append(len(self._content))
            self._content += packet_block(START, next(frames))

    @property
    def packets(self) -> int:
        """How many they are."""
        return len(self._places)

    def at(self, start: int, client: int) -> bytearray:
        """The packets from that time on, ns since 1970, of the `client`th /24 of 10.0.0.0/8."""
        for number, place in enumerate(self._places):
            stamp = start + number * GAP
            _STAMPS.pack_into(self._content, place + _STAMP, stamp >> 32, stamp & 0xFFFFFFFF)
            _CLIENTS.pack_into(self._content, place + _CLIENT, 10, client)
        return self._content


def make_raw(directory: Path, size: int, segment: int) -> Archive:
    """Raw segments with their indexes, in all about `size` bytes of pcapng."""
    piece, pieces = Piece(min(PIECE, segment)), max(1, segment // PIECE)
    made, start = [], START
    for seq in range(1, max(1, size // segment) + 1):
        path = _placed(directory, seq, start)
        with path.open("wb") as file:
            file.write(head(RING))
            for number in range(pieces):
                begin = start + number * piece.packets * GAP
                file.write(piece.at(begin, seq * pieces + number))
            count = pieces * piece.packets
            last = start + (count - 1) * GAP
            file.write(pcapng.statistics(last, start, last, count, 0, count))
        _with_index(path, indexes.encode(examine_file(path, SECTION)))
        made.append(path)
        start += count * GAP
    return _archive(directory, made)


def make_compressed(directory: Path, archive: Archive) -> Archive:
    """The same, compressed."""
    made = []
    for seq, raw in enumerate(archive.segments, start=1):
        path = _placed(directory, seq, archive.first)
        path = path.with_name(f"{raw.name}.zst")
        contents = compress_file(raw, path, LEVEL, SECTION).contents
        _with_index(path, indexes.encode(contents))
        made.append(path)
    return _archive(directory, made)


def part(archive: Archive, size: int) -> Archive:
    """The first segments of an archive, in all about `size` bytes of them, as one of its own."""
    raw, kept = 0, []
    for path in archive.segments:
        if raw < size:
            kept.append(path)
            raw += path.stat().st_size
    return _described(archive.directory, kept)


def _placed(directory: Path, seq: int, start: int) -> Path:
    name = SegmentName(RING, start, seq)
    folder = directory / RING / name.folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name.file


def _with_index(path: Path, index: bytes) -> None:
    _index_of(path).write_bytes(index)


def _index_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.idx")


def _archive(directory: Path, segments: list[Path]) -> Archive:
    archive = _described(directory, segments)
    text = f'[storage]\ndirectory = "{directory}"\n[[interface]]\nname = "{RING}"\n'
    archive.config.write_text(text)
    return archive


def _described(directory: Path, segments: list[Path]) -> Archive:
    found = list(_contents(segments))
    sections = [section for index in found for section in index.sections if section.packets]
    return Archive(
        directory=directory,
        segments=tuple(segments),
        packets=sum(section.packets for section in sections),
        raw=sum(index.raw_size for index in found),
        stored=sum(path.stat().st_size for path in segments),
        indexes=sum(_index_of(path).stat().st_size for path in segments),
        first=min(section.first for section in sections),
        last=max(section.last for section in sections),
    )


def _contents(segments: list[Path]) -> Iterator[indexes.Index]:
    for path in segments:
        yield indexes.decode(_index_of(path).read_bytes())
