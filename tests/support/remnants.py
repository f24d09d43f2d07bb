"""Segments as a dead run leaves them, and what is in the file that was made of one.

Blocks are made and read here by hand, strictly and apart from capd.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from capd import pcapng
from capd.archive.salvage import Outcome, salvage
from capd.messages import Source
from capd.names import part_name
from tests.support.frames import Shape, Stream

SECTION, DESCRIPTION, STATISTICS, PACKET, PADDING = 0x0A0D0D0A, 1, 5, 6, 0x80000001
RING = "v0"
SEQ = 7
STAMP = 1_767_225_599_000_000_042  # 2025-12-31
STEP = 1_000_000  # ns from packet to packet
STREAM = Stream(Shape("odd", (60, 61, 62, 63, 64, 590)), ((0x8100, 101),))
SOURCE = Source(
    interface=RING,
    ring=RING,
    link_type=1,
    speed=10**9,
    filter="not port 22",
    filter_since=0,
    snaplen=262144,
    host="probe-7",
    record_direction=False,
)
HEAD = pcapng.header(SOURCE)


class Block(NamedTuple):
    """One block and where it stands."""

    kind: int
    start: int
    end: int


def packet(number: int, stream: Stream = STREAM, stamp: int | None = None) -> bytes:
    """The block of frame `number`; every third has options."""
    return packet_of(stream.expected(number), STAMP + STEP * number if stamp is None else stamp)


def packet_of(data: bytes, stamp: int) -> bytes:
    """The block of one frame; some have options."""
    options = struct.pack("=HHII", 2, 4, 1, 0) if len(data) % 3 == 0 else b""
    body = struct.pack("=5I", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data))
    body += data + bytes(-len(data) % 4) + options
    size = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", PACKET) + size + body + size


def unclosed(count: int, stream: Stream = STREAM) -> bytes:
    """A segment of that many packets and nothing behind."""
    return HEAD + b"".join(packet(number, stream) for number in range(count))


def expected(numbers: Iterable[int]) -> list[bytes]:
    """The frames of these numbers."""
    return [STREAM.expected(number) for number in numbers]


def closing(count: int, lost: int = 0, comment: str = "") -> bytes:
    """The statistics that a worker puts behind `count` packets."""
    last = STAMP + STEP * count
    now, first, last = (last + 5, STAMP, last) if count else (last, last, last)
    return pcapng.statistics(now, first, last, count + lost, lost, count, comment)


COUNT = 20
WHOLE = unclosed(COUNT)
NAME = "2025-12-31/v0_20251231T235959.000000042Z_0000000007.pcapng"  # what becomes of it


def page_padding(length: int) -> bytes:
    """What a worker puts behind that many bytes, up to the page's end."""
    rest = -length % 4096
    return pcapng.padding(rest if rest >= 12 or not rest else rest + 4096) if rest else b""


def blocks(content: bytes) -> Iterator[Block]:
    """All blocks of a file; AssertionError unless it is nothing but whole blocks."""
    at = 0
    while at < len(content):
        assert len(content) - at >= 12, f"{len(content) - at} bytes are left at {at}"
        kind, size = struct.unpack_from("=II", content, at)
        assert 12 <= size <= len(content) - at, f"a block of {size} bytes at {at}"
        assert size % 4 == 0
        assert struct.unpack_from("=I", content, at + size - 4) == (size,)
        yield Block(kind, at, at + size)
        at += size


def frames(content: bytes) -> list[bytes]:
    """The data of all packets of a whole file, in its order."""
    found = list(blocks(content))
    assert [block.kind for block in found[:2]] == [SECTION, DESCRIPTION]
    return [_data(content, block) for block in found if block.kind == PACKET]


def _data(content: bytes, block: Block) -> bytes:
    interface, _, _, captured = struct.unpack_from("=4I", content, block.start + 8)
    assert interface == 0
    assert captured <= block.end - block.start - 32
    return content[block.start + 28 : block.start + 28 + captured]


def covered(content: bytes) -> int:
    """Bytes in blocks of padding."""
    return sum(block.end - block.start for block in blocks(content) if block.kind == PADDING)


@contextmanager
def in_memory() -> Iterator[Place]:
    """A ring's folder on no disk: one would be asked to confirm thousands of files."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Place(Path(folder))


class Place:
    """A ring's folder with the `.part` file of a dead run in it."""

    def __init__(self, below: Path) -> None:
        self.path = below / RING
        self.path.mkdir(0o750, exist_ok=True)
        self.part = self.path / part_name(SEQ)
        self.damaged = self.path / f"{SEQ:010d}.pcapng.damaged"

    def salvage(self, content: bytes | None = None) -> Outcome:
        """What becomes of the file, or of one with this content."""
        if content is not None:
            self.part.write_bytes(content)
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            return salvage(fd, RING, SEQ)
        finally:
            os.close(fd)

    def salvage_again(self) -> None:
        """A second run finds nothing to do, nor does one that does not know of the new name."""
        before = self.files()
        assert self.salvage().what == "gone"
        assert self.files() == before
        ((name, _),) = before.items()
        (self.path / name).rename(self.part)
        assert self.salvage().path == name
        assert self.files() == before

    def files(self) -> dict[str, bytes]:
        """All files, by their path below the folder."""
        found = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): path.read_bytes() for path in found}

    def result(self) -> bytes:
        """The one file there is."""
        ((_, content),) = self.files().items()
        return content

    def clear(self) -> None:
        """Nothing is there."""
        for name in self.files():
            (self.path / name).unlink()
