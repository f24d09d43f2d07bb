"""`capd verify` on damage: every byte of a segment and of its index changed, and every end."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from capd import index as indexes
from capd.archive.compressor import LEAST_SECTION
from capd.names import COMPRESSED_SUFFIX, SegmentName
from capd.query.verification import Summary, Verdict, Verification
from tests.support.compressing import compress_file
from tests.support.need import need
from tests.support.sections import index_of
from tests.support.traffic import START, Traffic, write_segment

pytestmark = pytest.mark.fault(23, 48)

SIZE = 4000  # bytes of the raw segment
SECTION = 1500
SEGMENTS = 5
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

    def verdict(self) -> Verdict:
        """Of `capd verify` on the segment."""
        (found,) = Verification([self._directory]).verdicts(lambda _: None)
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


@dataclass
class Archive:
    """A capture directory of raw segments of a ring, and the second one."""

    places: list[Path]

    def __post_init__(self) -> None:
        for seq in range(1, SEGMENTS + 1):
            name = SegmentName("v0", START + seq, seq)
            for place in self.places:
                (place / name.ring / name.folder).mkdir(parents=True, exist_ok=True)
            path = self.path(0, seq)
            write_segment(path, SIZE, Traffic(pool=2**14))
            index = indexes.encode(index_of(path.read_bytes(), SECTION))
            path.with_name(name.index_file).write_bytes(index)

    def path(self, place: int, seq: int) -> Path:
        """Of a raw segment."""
        name = SegmentName("v0", START + seq, seq)
        return self.places[place] / name.ring / name.folder / name.file

    def move(self, seq: int) -> None:
        """To the second directory."""
        for path in self.path(0, seq).parent.glob(f"*_{seq:010d}.*"):
            path.rename(self.path(1, seq).parent / path.name)

    def compress(self, place: int, seq: int) -> Path:
        """Where it is."""
        raw = self.path(place, seq)
        path = raw.with_suffix(COMPRESSED_SUFFIX)
        made = compress_file(raw, path, 3, LEAST_SECTION)
        path.with_name(f"{path.name}.idx").write_bytes(indexes.encode(made.contents))
        self.delete(place, seq)
        return path

    def delete(self, place: int, seq: int) -> None:
        """With its index."""
        raw = self.path(place, seq)
        raw.unlink()
        raw.with_name(f"{raw.name}.idx").unlink()


def test_what_gets_another_name_meanwhile(directory: Path) -> None:
    """Is read under that, and what is nowhere any more is counted."""
    archive = Archive([directory / "fast", directory / "slow"])
    verification = Verification([*map(str, archive.places)])
    looked: list[int] = []
    verdicts = verification.verdicts(looked.append)
    found = [next(verdicts)]
    archive.move(2)
    archive.move(3)
    archive.delete(0, 4)
    found += [next(verdicts), next(verdicts)]  # the fifth, which stayed, and the second
    damaged = archive.compress(1, 3)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    found += verdicts
    last = archive.path(0, 4)
    assert [(one.path, one.problem is None, one.deleted) for one in found] == [
        *((str(archive.path(0, seq)), True, False) for seq in (1, 5)),
        (str(archive.path(1, 2)), True, False),
        (str(damaged), False, False),
        (str(last), True, True),
    ]
    assert sum(looked) == verification.size
    summary = Summary()
    for verdict in found:
        summary.add(verdict)
    assert summary.text().startswith("4 segments, ")
    assert summary.text().endswith(": 1 are not whole; 1 were deleted meanwhile")
    assert verification.troubles == []


def test_what_moved_to_where_nothing_can_be_read(directory: Path) -> None:
    """Is not called deleted."""
    archive = Archive([directory / "fast", directory / "slow"])
    verification = Verification([*map(str, archive.places)])
    verdicts = verification.verdicts(lambda _: None)
    next(verdicts)
    archive.move(2)
    archive.places[1].rename(directory / "unmounted")
    *whole, missing = verdicts
    assert [one.problem for one in whole] == [None] * (SEGMENTS - 2)
    assert missing.path == str(archive.path(0, 2))
    assert missing.problem is not None
    assert not missing.deleted
    assert verification.troubles == [f"cannot read {archive.places[1]}: No such file or directory"]


def decompressed(content: bytes) -> bytes | None:
    """What zstd makes of it; None if it does not take it."""
    done = subprocess.run(["zstd", "-dcq"], input=content, capture_output=True, check=False)
    return None if done.returncode else done.stdout
