"""The compressor: sections that do not refer to each other, in one ordinary zstd frame."""

from __future__ import annotations

import itertools
import resource
import statistics
import subprocess
import zlib
from pathlib import Path

import pytest
import zstandard

from capd import pcapng
from capd.archive.compressor import LEAST_SECTION, MismatchError, _verify
from capd.archive.gate import LeavingError
from capd.errors import StorageError
from capd.index import Index
from capd.sections import LAST_BLOCK, decode_section
from capd.survey import survey
from tests.support import compressing
from tests.support.compressing import compress_file, examine_file
from tests.support.need import need
from tests.support.traffic import START, Traffic, head, packet_block, write_segment

MIB = 2**20
SECTION = LEAST_SECTION


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A segment of some sections, the last of them shorter."""
    path = tmp_path / "raw"
    write_segment(path, 9 * SECTION // 2, Traffic(pool=2**19))
    return path


@pytest.mark.parametrize("level", [-5, 1, 3, 9, 19])
def test_sections_are_independent(raw: Path, tmp_path: Path, level: int) -> None:
    """And nothing of the frame but its header and its end is outside of them."""
    need("zstd")
    target = tmp_path / "compressed"
    index = compress_file(raw, target, level, SECTION).contents
    content, stored = raw.read_bytes(), target.read_bytes()
    check_index(index, content, stored)
    frame = zstandard.get_frame_parameters(stored)
    assert (frame.content_size, frame.has_checksum) == (len(content), True)
    assert index.sections[0].stored_offset == zstandard.frame_header_size(stored)
    for one, after in itertools.pairwise(index.sections):
        assert one.stored_offset + one.stored_length == after.stored_offset
    last = index.sections[-1]
    end = stored[last.stored_offset + last.stored_length :]
    assert (end[:3], len(end)) == (LAST_BLOCK, 7)  # and the checksum
    done = subprocess.run(["zstd", "-dcq", str(target)], capture_output=True, check=True)
    assert done.stdout == content


def check_index(index: Index, content: bytes, stored: bytes) -> None:
    """Every section decodes alone, and the index says of it what the survey says."""
    assert (index.raw_size, index.stored_size) == (len(content), len(stored))
    link_type, end = -1, 0
    for section in index.sections:
        part = content[section.raw_offset : section.raw_offset + section.raw_length]
        where = slice(section.stored_offset, section.stored_offset + section.stored_length)
        assert decode_section(stored[where], section.raw_length) == part
        found = survey(part, 0, len(part), link_type, sketch=True)
        assert (found.end, found.fault) == (len(part), 0)
        assert section.crc == zlib.crc32(part)
        told = (section.packets, section.first, section.last, section.lost, section.closed)
        assert told == (found.packets, found.first, found.last, found.lost, found.closed)
        assert section.sketch == found.sketch
        link_type, end = found.link_type, section.raw_offset + section.raw_length
        assert section.raw_length <= SECTION
    assert end == len(content)
    assert min(section.raw_length for section in index.sections[:-1]) > SECTION - 2000


def test_the_index_alone_has_the_same_sections(raw: Path, tmp_path: Path) -> None:
    """Stored where they are."""
    made = compress_file(raw, tmp_path / "compressed", 3, SECTION).contents
    alone = examine_file(raw, SECTION)
    assert alone.stored_size == alone.raw_size == made.raw_size
    for one, other in zip(alone.sections, made.sections, strict=True):
        stored = one._replace(stored_offset=other.stored_offset, stored_length=other.stored_length)
        assert stored == other
        assert (one.stored_offset, one.stored_length) == (one.raw_offset, one.raw_length)


@pytest.mark.parametrize("size", [1, 300, SECTION - 1000, SECTION, SECTION + 1, 2 * SECTION])
def test_sizes_around_those_of_a_section(tmp_path: Path, size: int) -> None:
    """Below the least section libzstd is not multi-threaded, and sections are not asked of it."""
    raw, target = tmp_path / "raw", tmp_path / "compressed"
    write_segment(raw, size, Traffic(pool=2**18))
    index = compress_file(raw, target, 3, 1).contents
    content, stored = raw.read_bytes(), target.read_bytes()
    for section in index.sections:
        where = slice(section.stored_offset, section.stored_offset + section.stored_length)
        part = content[section.raw_offset : section.raw_offset + section.raw_length]
        assert decode_section(stored[where], section.raw_length) == part
    assert sum(section.raw_length for section in index.sections) == len(content)


def test_a_block_larger_than_a_section(tmp_path: Path) -> None:
    """Padding to a large page, or what took the place of a block that was not written."""
    raw = tmp_path / "raw"
    frames = Traffic(pool=2**18).frames()
    packets = [packet_block(START + number, next(frames)) for number in range(1000)]
    large = pcapng.padding(4 * MIB)
    raw.write_bytes(head() + b"".join(packets) + large + b"".join(packets))
    index = compress_file(raw, tmp_path / "compressed", 3, SECTION).contents
    assert [section.raw_length for section in index.sections].count(len(large)) == 1
    assert index.packets == 2000


@pytest.mark.parametrize("cut", [1, 5, 31, 32, 600_000])
def test_a_torn_segment_is_refused(raw: Path, tmp_path: Path, cut: int) -> None:
    """With the place, in both ways."""
    content = raw.read_bytes()
    raw.write_bytes(content[:-cut])
    with pytest.raises(StorageError, match=r"the block at byte [\d,]+ is cut short"):
        compress_file(raw, tmp_path / "compressed", 3, SECTION)
    with pytest.raises(StorageError, match="is cut short"):
        examine_file(raw, SECTION)


@pytest.mark.parametrize("content", [b"", b"\n", bytes(5000), b"GIF89a" * 1000])
def test_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """Without an end that never comes."""
    raw = tmp_path / "raw"
    raw.write_bytes(content)
    with pytest.raises(StorageError, match="the block at byte 0 is"):
        examine_file(raw, SECTION)


@pytest.mark.fault(26)
def test_a_section_that_does_not_come_back(raw: Path, tmp_path: Path) -> None:
    """Is noticed, whether it decodes or not, before anybody relies on it."""
    index = compress_file(raw, tmp_path / "compressed", 3, SECTION).contents
    section = index.sections[0]
    stored = (tmp_path / "compressed").read_bytes()[section.stored_offset :]
    stored = stored[: section.stored_length]
    part = raw.read_bytes()[: section.raw_length]
    assert _verify(stored, memoryview(part), 0) > 0
    changed = bytearray(part)
    changed[-1] ^= 1
    with pytest.raises(MismatchError, match="comes back changed"):
        _verify(stored, memoryview(changed), 0)
    with pytest.raises(MismatchError, match="does not come back"):
        _verify(stored[:-1], memoryview(part), 0)


def test_it_can_be_stopped_before_each_section(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked before a section may wait, or end it."""
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise LeavingError

    monkeypatch.setattr(compressing, "go_on", stop)
    with pytest.raises(LeavingError):
        compress_file(raw, tmp_path / "compressed", 3, SECTION)
    monkeypatch.undo()
    index = examine_file(raw, SECTION)
    assert len(index.sections) == 5


def test_what_it_costs(tmp_path: Path) -> None:
    """Beside `zstd -3` on the same file; `python -m tests.bench.compress` has the figures."""
    need("zstd")
    raw, target, other = (tmp_path / name for name in ("raw", "compressed", "other"))
    write_segment(raw, 48 * MIB, Traffic(pool=8 * MIB))
    argv = ["zstd", "-3", "-T1", "-qf", str(raw), "-o", str(other)]
    shares, checks = [], []
    for _ in range(5):
        before = _spent(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, check=True)
        theirs = _spent(resource.RUSAGE_CHILDREN) - before
        before = _spent(resource.RUSAGE_SELF)
        verification = compress_file(raw, target, 3, 4 * MIB).verification / 1e9
        ours = _spent(resource.RUSAGE_SELF) - before - verification
        shares.append(ours / theirs)
        checks.append(verification / ours)
    assert statistics.median(shares) < 1.15
    assert statistics.median(checks) < 1
    assert target.stat().st_size < 1.02 * other.stat().st_size


def _spent(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
