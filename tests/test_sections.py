"""One section read alone: right, or refused in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capd.errors import StorageError
from capd.index import Index
from capd.sections import (
    FRAME_HEAD,
    decode_into,
    decode_section,
    frame_head,
    frame_size,
    is_compressed,
    read_section,
)
from tests.support.compressing import compress_file, examine_file
from tests.support.traffic import Traffic, write_segment

SECTION = 512 * 1024


class Sample(NamedTuple):
    """A segment, raw and compressed, with the index of each."""

    raw: bytes
    files: dict[str, Path]
    indexes: dict[str, Index]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Of four sections."""
    folder = tmp_path_factory.mktemp("sections")
    raw, compressed = folder / "raw", folder / "compressed"
    write_segment(raw, 7 * SECTION // 2, Traffic(pool=2**19))
    made = compress_file(raw, compressed, 3, SECTION).contents
    indexes = {"raw": examine_file(raw, SECTION), "compressed": made}
    return Sample(raw.read_bytes(), {"raw": raw, "compressed": compressed}, indexes)


@pytest.fixture(params=["raw", "compressed"])
def form(request: pytest.FixtureRequest) -> str:
    """Of the sample."""
    name: str = request.param
    return name


@pytest.fixture
def fd(sample: Sample, form: str) -> Iterator[int]:
    """The sample's file."""
    opened = os.open(sample.files[form], os.O_RDONLY)
    yield opened
    os.close(opened)


def test_every_section_alone(sample: Sample, form: str, fd: int) -> None:
    """In any order; both forms have the same ones."""
    index = sample.indexes[form]
    assert len(index.sections) == 4
    assert is_compressed(index) == (form == "compressed")
    for number in (2, 0, 3, 1):
        section = index.sections[number]
        expected = sample.raw[section.raw_offset : section.raw_offset + section.raw_length]
        assert read_section(fd, index, number) == expected
    places = [(each.raw_offset, each.raw_length) for each in index.sections]
    assert places == [(s.raw_offset, s.raw_length) for s in sample.indexes["raw"].sections]


def test_into_memory_that_is_used_again(sample: Sample) -> None:
    """Every section's bytes and no more; of a frame that is cut short not all of them come."""
    into, frame = bytearray(b"x" * 2 * SECTION), bytearray(b"x" * 2 * SECTION)
    stored = sample.files["compressed"].read_bytes()
    for each in sample.indexes["compressed"].sections:
        expected = sample.raw[each.raw_offset : each.raw_offset + each.raw_length]
        end = each.stored_offset + each.stored_length
        frame[FRAME_HEAD : FRAME_HEAD + each.stored_length] = stored[each.stored_offset : end]
        assert decode_into(into, each.raw_length, frame, each.stored_length) == each.raw_length
        assert into.startswith(expected)
        assert into[each.raw_length :] == b"x" * (2 * SECTION - each.raw_length)
        assert frame_size(each.stored_length) < len(frame) == 2 * SECTION
        few = each.stored_length // 2
        with suppress(StorageError):
            assert decode_into(into, each.raw_length, frame, few) < each.raw_length
        frame[:], into[:] = b"x" * len(frame), b"x" * len(into)
        with pytest.raises(StorageError, match="cannot be decoded"):
            decode_into(into, each.raw_length, frame, each.stored_length)


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_a_changed_bit_is_noticed(sample: Sample, form: str, at: float, bit: int) -> None:
    """Wherever it is in the section, and whatever zstd thinks of it."""
    index = sample.indexes[form]
    section = index.sections[1]
    content = bytearray(sample.files[form].read_bytes())
    content[section.stored_offset + int(at * section.stored_length)] ^= 1 << bit
    memory = os.memfd_create("changed")
    try:
        os.write(memory, content)
        with pytest.raises(StorageError, match="section 1 is damaged: "):
            read_section(memory, index, 1)
        assert read_section(memory, index, 2)
    finally:
        os.close(memory)


def test_a_file_that_ends_too_soon(sample: Sample, form: str, fd: int) -> None:
    """Is no disk error, and says so."""
    index = sample.indexes[form]
    last = index.sections[-1]
    memory = os.memfd_create("short")
    os.write(memory, os.pread(fd, last.stored_offset + last.stored_length - 1, 0))
    with pytest.raises(StorageError, match="section 3 is damaged: the file ends before it does"):
        read_section(memory, index, 3)
    os.close(memory)
    with pytest.raises(StorageError, match="section 3 cannot be read: Bad file descriptor"):
        read_section(memory, index, 3)


def test_the_index_of_another_file(sample: Sample) -> None:
    """Raw bytes are no zstd blocks."""
    with (
        sample.files["raw"].open("rb") as file,
        pytest.raises(StorageError, match="section 0 is damaged: it cannot be decoded"),
    ):
        read_section(file.fileno(), sample.indexes["compressed"], 0)


@pytest.mark.parametrize("length", [1, 255, 65536, 2**32 + 1])
def test_a_frame_head_says_how_much(length: int) -> None:
    """As the format's description has it (RFC 8878, 3.1.1.1)."""
    head = frame_head(length)
    assert head[:5] == b"\x28\xb5\x2f\xfd\xe0"
    assert int.from_bytes(head[5:], "little") == length
    assert len(head) == 13


def test_fewer_bytes_than_announced(sample: Sample) -> None:
    """Or more: neither passes for the section."""
    index = sample.indexes["compressed"]
    section = index.sections[0]
    stored = sample.files["compressed"].read_bytes()[section.stored_offset :]
    stored = stored[: section.stored_length]
    assert len(decode_section(stored, section.raw_length)) == section.raw_length
    for wrong in (-1, 1):
        with pytest.raises(StorageError, match="cannot be decoded"):
            decode_section(stored, section.raw_length + wrong)
