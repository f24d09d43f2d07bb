"""`capd verify` on damage: every byte of a segment and of its index changed, and every end."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd import index as indexes
from capd.archive.compressor import LEAST_SECTION
from capd.names import COMPRESSED_SUFFIX, SegmentName
from capd.query.holdings import located, look
from capd.query.verification import Verdict, verify
from tests.support.compressing import compress_file
from tests.support.need import need
from tests.support.sections import index_of
from tests.support.traffic import START, Traffic, write_segment

pytestmark = pytest.mark.fault(23, 48)

SIZE = 4000  # bytes of the raw segment
SECTION = 1500
TAIL = 3 + 4  # bytes of a frame: its last block, which is empty, and its checksum


class Place:
    """A capture directory with one segment in it."""

    def __init__(self, directory: Path, *, compressed: bool, size: int = SIZE) -> None:
        name = SegmentName("v0", START, 1)
        folder = directory / name.ring / name.folder
        folder.mkdir(parents=True)
        raw = directory / "raw"
        self.packets = write_segment(raw, size, Traffic(pool=2**14)).packets
        self.raw = raw.read_bytes()
        if compressed:
            name = name._replace(suffix=COMPRESSED_SUFFIX)
            contents = compress_file(raw, folder / name.file, 3, LEAST_SECTION).contents
        else:
            (folder / name.file).write_bytes(self.raw)
            contents = index_of(self.raw, SECTION)
        self.path, self.index = folder / name.file, folder / name.index_file
        self.content = self.path.read_bytes()
        self.index.write_bytes(indexes.encode(contents))
        self.sections = len(contents.sections)
        self._directory = str(directory)
        self.find()

    def find(self) -> None:
        """The segment, as it is now."""
        self._segments = list(located(look([self._directory])[0]))

    def verdict(self) -> Verdict:
        """Of `capd verify` on the segment."""
        (found,) = verify(self._segments, lambda _: None)
        assert found.path == str(self.path)
        return found

    def problem(self, content: bytes) -> str | None:
        """What is said of other data."""
        self.path.write_bytes(content)
        return self.verdict().problem


@pytest.fixture
def directory() -> Iterator[Path]:
    """On no disk: one would be asked to hold thousands of files."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def flipped(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Every byte changed once, each in one of its bits, and once more in all; and where."""
    for at, byte in enumerate(content):
        for mask in (1 << at % 8, 0xFF):
            yield at, content[:at] + bytes([byte ^ mask]) + content[at + 1 :]


def shortened(content: bytes) -> Iterator[bytes]:
    """Cut off everywhere."""
    return (content[:size] for size in range(len(content)))


def test_every_byte_of_an_indexed_segment(directory: Path) -> None:
    """And every end, and one byte more."""
    place = Place(directory, compressed=False)
    assert place.sections > 2
    assert place.verdict().problem is None
    for at, changed in flipped(place.content):
        assert place.problem(changed) is not None, at
    for cut in shortened(place.content):
        assert place.problem(cut) is not None, len(cut)
    assert place.problem(place.content + b"\0") is not None
    assert place.problem(place.content) is None


@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
def test_every_byte_of_an_index(directory: Path, compressed: bool) -> None:
    """And every end, and one byte more; the segment is named for it."""
    place = Place(directory, compressed=compressed)
    content = place.index.read_bytes()
    for at, changed in flipped(content):
        place.index.write_bytes(changed)
        assert place.verdict().problem is not None, at
    for cut in [*shortened(content), content + b"\0"]:
        place.index.write_bytes(cut)
        assert place.verdict().problem is not None, len(cut)
    place.index.write_bytes(content)
    assert place.verdict().problem is None


def test_every_byte_of_a_raw_segment_without_an_index(directory: Path) -> None:
    """Only blocks can be wrong then; the packets are counted all the same, but for a broken one."""
    place = Place(directory, compressed=False)
    place.index.unlink()
    place.find()
    named = 0
    for at, changed in flipped(place.content):
        place.path.write_bytes(changed)
        found = place.verdict()
        named += found.problem is not None
        assert found.problem or place.packets - 1 <= found.packets <= place.packets, at
    assert named > place.packets * 8  # the lengths of every block, before it and behind it
    assert place.problem(place.content) is None


@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "alone"])
def test_every_byte_of_a_compressed_segment(directory: Path, indexed: bool) -> None:
    """What is not named is no damage: other people's zstd gets every byte of the segment of it."""
    need("zstd")
    place = Place(directory, compressed=True)
    if not indexed:
        place.index.unlink()
        place.find()
    assert place.verdict() == Verdict(str(place.path), None, place.packets, indexed)
    harmless = [changed for _, changed in flipped(place.content) if place.problem(changed) is None]
    assert len(harmless) < len(place.content) // 100
    for content in harmless:
        assert decompressed(content) == place.raw
    for cut in [*shortened(place.content), place.content + b"\0", 2 * place.content]:
        assert place.problem(cut) is not None, len(cut)
    assert place.problem(place.content) is None


def test_the_ends_of_a_larger_frame(directory: Path) -> None:
    """Of several sections and a window: every bit of the frame's head, and of what ends it."""
    need("zstd")
    place = Place(directory, compressed=True, size=3 * LEAST_SECTION)
    assert place.sections > 2
    places = [*range(18), *range(len(place.content) - TAIL - 8, len(place.content))]
    for at in places:
        for bit in range(8):
            changed = bytearray(place.content)
            changed[at] ^= 1 << bit
            if place.problem(bytes(changed)) is None:
                assert decompressed(bytes(changed)) == place.raw, (at, bit)
    for size in range(1, TAIL + 1):
        assert place.problem(place.content[:-size]) is not None
    assert place.problem(place.content) is None


def decompressed(content: bytes) -> bytes | None:
    """What zstd makes of it; None if it does not take it."""
    done = subprocess.run(["zstd", "-dcq"], input=content, capture_output=True, check=False)
    return None if done.returncode else done.stdout
