"""The index of a compressed segment that lost it."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path

import pytest

from capd import pcapng
from capd.errors import StorageError
from capd.sections import read_section
from tests.support.compressing import compress_file, rebuild_file
from tests.support.need import need
from tests.support.traffic import START, Traffic, head, packet_block, write_segment

MIB = 2**20
SECTION = 512 * 1024


@pytest.mark.parametrize("level", [-5, 3, 19])
@pytest.mark.parametrize("section_size", [SECTION, 2 * MIB])
def test_it_is_what_it_was(tmp_path: Path, level: int, section_size: int) -> None:
    """Without being told how large sections were."""
    raw, target = tmp_path / "raw", tmp_path / "compressed"
    write_segment(raw, 11 * SECTION, Traffic(pool=2**19))
    index = compress_file(raw, target, level, section_size).contents
    assert rebuild_file(target) == index


def test_boundaries_that_are_none(tmp_path: Path) -> None:
    """Every block of zstd ends where a packet does: only few of them are boundaries."""
    raw, target = tmp_path / "raw", tmp_path / "compressed"
    begin = head()
    begin += pcapng.padding(1024 - len(begin) % 1024)
    text = Traffic(pool=2**19)._text
    packets = [
        packet_block(START + number, text[number * 31 :][: 1024 - 32]) for number in range(6 * 1024)
    ]
    raw.write_bytes(begin + b"".join(packets))
    index = compress_file(raw, target, 3, SECTION).contents
    again = rebuild_file(target)
    ends = {section.raw_offset for section in again.sections}
    assert {section.raw_offset for section in index.sections} <= ends
    assert again.packets == len(packets)
    with target.open("rb") as file:
        parts = [read_section(file.fileno(), again, n) for n in range(len(again.sections))]
    assert b"".join(parts) == raw.read_bytes()


@pytest.mark.parametrize("options", [["-3", "--single-thread"], ["-19", "--no-check"], ["-1"]])
def test_a_frame_of_another_program(tmp_path: Path, options: list[str]) -> None:
    """Is one section, which can be read."""
    need("zstd")
    raw, target = tmp_path / "raw", tmp_path / "compressed"
    written = write_segment(raw, 3 * MIB, Traffic(pool=2**19))
    subprocess.run(["zstd", "-q", *options, str(raw), "-o", str(target)], check=True)
    index = rebuild_file(target)
    (section,) = index.sections
    assert (index.stored_size, index.raw_size) == (target.stat().st_size, written.size)
    assert (section.packets, section.first, section.last, section.closed) == (
        *(written.packets, written.first, written.last),
        written.last,
    )
    content = raw.read_bytes()
    assert section.crc == zlib.crc32(content)
    with target.open("rb") as file:
        assert read_section(file.fileno(), index, 0) == content


def test_what_cannot_be_one_is_refused(tmp_path: Path) -> None:
    """Cut anywhere, changed anywhere, followed by anything, or with something else inside."""
    need("zstd")
    raw, target = tmp_path / "raw", tmp_path / "compressed"
    write_segment(raw, SECTION // 4, Traffic(pool=2**17))
    compress_file(raw, target, 3, SECTION)
    content = target.read_bytes()
    torn = (content[:end] for end in [*range(40), *range(40, len(content), 1009)])
    changed = (
        content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        for at in [*range(40), *range(40, len(content), 1009), len(content) - 1]
    )
    text = subprocess.run(["zstd", "-qc"], input=bytes(5000), capture_output=True, check=True)
    others = (content + b"x", content + content, b"", text.stdout, raw.read_bytes())
    for bad in (*torn, *changed, *others):
        target.write_bytes(bad)
        with pytest.raises(StorageError):
            rebuild_file(target)
