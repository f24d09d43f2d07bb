"""The index of a segment: what goes in comes out, and nothing that was changed is believed."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.errors import StorageError
from capd.index import Index, Section, decode, encode, read_totals
from capd.survey import NO_STAMP, UNTOLD

_HEADER, _RECORD = 88, 80
_SUMS_END = 80
_FIRST = Section(0, 400, 0, 100, 50, 70, 3, UNTOLD, 0, 0xFFFFFFFF, b"one")
_SECOND = Section(400, 600, 100, 300, 40, 60, 4, 9, 99, 7, b"")
_THIRD = Section(1000, 28, 404, 28, *NO_STAMP, 0, UNTOLD, 0, 0, b"3" * 8192)
_INDEX = Index(440, 1028, 1, (_FIRST, _SECOND, _THIRD))
_SMALL = Index(440, 1000, 1, (_FIRST, _SECOND))


def sealed(content: bytes | bytearray) -> bytes:
    """With the right checksums in it and behind it."""
    content = bytearray(content)
    if len(content) >= _HEADER:
        struct.pack_into("<I", content, _SUMS_END, zlib.crc32(content[:_SUMS_END]))
    return bytes(content) + struct.pack("<I", zlib.crc32(content))


def refused(content: bytes) -> str:
    """Why this is not taken as an index."""
    with pytest.raises(StorageError, match=r"^the index cannot be used: ") as caught:
        decode(content)
    return str(caught.value)


def test_layout() -> None:
    """To the byte, as the module's docstring has it: files outlive the program."""
    section = Section(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, b"sketch")
    expected = "896361706469780a 0100 5800 71000000 1100000000000000 0100000000000000"
    expected += "01000000 00000000"
    expected += "".join(f"{number:02x}00000000000000" for number in (6, 4, 5, 7, 8))
    expected += f"{zlib.crc32(bytes.fromhex(expected)).to_bytes(4, 'little').hex()} 00000000"
    expected += "5e000000 09000000"
    expected += "".join(f"{number:02x}00000000000000" for number in range(9))
    expected += "0100 0000 06000000" + b"sketch".hex()
    content = encode(Index(17, 1, 113, (section,)))
    assert content[:-4] == bytes.fromhex(expected)
    assert content == sealed(content[:-4])


@pytest.mark.parametrize("index", [_INDEX, _SMALL, Index(0, 0, 1, ()), Index(9, 0, 0, ())])
def test_there_and_back(index: Index) -> None:
    """Nothing is lost, nothing added."""
    assert decode(encode(index)) == index


_numbers = st.integers(0, 2**40)
_words = st.integers(0, 2**64 - 1)


@given(
    st.lists(
        st.tuples(_numbers, _numbers, _numbers, st.tuples(*[_words] * 5), st.binary(max_size=40))
    ),
    st.integers(0, 2**32 - 1),
    _numbers,
)
def test_any_numbers(
    made: list[tuple[int, int, int, tuple[int, int, int, int, int], bytes]], word: int, more: int
) -> None:
    """Up to the ends of their ranges."""
    sections: list[Section] = []
    raw = stored = 0
    for length, gap, size, (first, last, packets, lost, closed), sketch in made:
        times = (first, last, packets, lost, closed)
        sections.append(Section(raw, length, stored + gap, size, *times, crc=word, sketch=sketch))
        raw += length
        stored += gap + size
    index = Index(stored + more, raw, word, tuple(sections))
    assert decode(encode(index)) == index


def test_sums() -> None:
    """Of the sections; without packets or statistics there is nothing to say."""
    assert (_INDEX.packets, _INDEX.first, _INDEX.last) == (7, 40, 70)
    assert (_INDEX.lost, _INDEX.closed) == (9, 99)
    nothing = Index(440, 400, 1, (_FIRST,))
    assert (nothing.lost, nothing.closed) == (None, 0)
    empty = Index(0, 0, 1, ())
    assert (empty.packets, (empty.first, empty.last)) == (0, NO_STAMP)
    none_lost = Index(440, 400, 1, (_FIRST._replace(lost=0),))
    assert none_lost.lost == 0


def test_the_totals_alone(tmp_path: Path) -> None:
    """Read from the header, without the sections; every changed byte of it is found."""
    path, content = tmp_path / "idx", encode(_INDEX)
    with path.open("w+b", buffering=0) as file:
        file.write(content[:_HEADER])
        assert read_totals(file.fileno()) == (440, 1028, 7, 40, 70, 9, 99)
        for at in range(_SUMS_END + 4):
            os.pwrite(file.fileno(), bytes([content[at] ^ 4]), at)
            with pytest.raises(StorageError, match=r"^the index cannot be used: "):
                read_totals(file.fileno())
            os.pwrite(file.fileno(), content[at : at + 1], at)
        os.ftruncate(file.fileno(), _HEADER - 1)
        with pytest.raises(StorageError, match="cut short"):
            read_totals(file.fileno())


@pytest.mark.fault(23)
def test_every_changed_byte_is_found() -> None:
    """Whichever bits of it."""
    content = encode(_SMALL)
    for at in range(len(content)):
        for change in (0x01, 0x80, 0xFF):
            refused(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])


def test_every_other_length_is_found() -> None:
    """Cut short anywhere, or with something behind it."""
    content = encode(_SMALL)
    for length in range(len(content)):
        refused(content[:length])
    refused(content + b"\0")
    refused(content + content)


@pytest.mark.fault(25)
def test_a_later_version_may_add() -> None:
    """A longer header and parts of other kinds are skipped; the sketch is found among them."""
    body = bytearray(encode(_SMALL)[:-4])
    other = struct.pack("<H2xI", 9, 5) + b"later"
    end = _HEADER + _RECORD + 8 + len(_FIRST.sketch)
    grown = body[:_HEADER] + b"new!" + body[_HEADER : _HEADER + _RECORD] + other
    grown += body[_HEADER + _RECORD : end] + other + body[end:]
    struct.pack_into("<H", grown, 10, _HEADER + 4)
    struct.pack_into("<I", grown, _HEADER + 4, end - _HEADER + 2 * len(other))
    assert decode(sealed(grown)) == _SMALL


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    ("offset", "form", "value", "words"),
    [
        (0, "<B", 0x88, "does not begin as one"),
        (8, "<H", 2, "of version 2, this capd reads version 1"),
        (8, "<H", 0, "of version 0"),
        (10, "<H", 87, "header is 87 bytes long"),
        (10, "<H", 65535, "ends in section 0 of 2"),
        (16, "<Q", 399, "end at byte 400 of a file of 399"),
        (24, "<Q", 999, "hold 1,000 bytes of 999"),
        (24, "<Q", 1001, "hold 1,000 bytes of 1,001"),
        (32, "<I", 1, f"{_RECORD} bytes follow"),
        (32, "<I", 3, "ends in section 2 of 3"),
        (32, "<I", 2**32 - 1, "ends in section 2 of 4294967295"),
        (40, "<Q", 6, "its header tells something else than its sections"),
        (72, "<Q", 98, "its header tells something else than its sections"),
        (_HEADER, "<I", 0, "section 0 is 0 bytes long"),
        (_HEADER, "<I", 79, "section 0 is 79 bytes long"),
        (_HEADER, "<I", 2**32 - 1, "section 0 is 4294967295 bytes long"),
        (_HEADER, "<I", 83, "a part of a section is cut short"),
        (_HEADER + 8, "<Q", 4, "section 0 begins at byte 4, not at 0"),
        (_HEADER + 16, "<Q", 396, "section 1 begins at byte 400, not at 396"),
        (_HEADER + 32, "<Q", 101, "section 1 begins in the stored bytes"),
        (_HEADER + _RECORD + 4, "<I", 4, "longer than the section's record"),
    ],
)
def test_what_does_not_fit(offset: int, form: str, value: int, words: str) -> None:
    """Behind a checksum that is right: written by something that is not capd, or by a bug."""
    content = bytearray(encode(_SMALL)[:-4])
    struct.pack_into(form, content, offset, value)
    assert words in refused(sealed(content))


@pytest.mark.parametrize(
    "sections",
    [
        (_SECOND,),
        (_FIRST,),
        (_FIRST, _SECOND, _THIRD),
        (_SECOND, _FIRST),
        (_FIRST, _SECOND._replace(stored_offset=99)),
        (_FIRST, _SECOND._replace(stored_length=341)),
    ],
)
def test_nothing_that_does_not_fit_is_written(sections: tuple[Section, ...]) -> None:
    """The caller's mistake, before it is in a file."""
    with pytest.raises(ValueError, match="section"):
        encode(Index(440, 1000, 1, sections))


@given(st.binary(max_size=200), st.integers(0, 2**16))
def test_nothing_else_comes_out_of_it(noise: bytes, place: int) -> None:
    """Random bytes behind a right checksum: an index or a StorageError."""
    content = bytearray(encode(_SMALL)[:-4])
    at = place % len(content)
    content[at : at + len(noise)] = noise
    content[:10] = encode(_SMALL)[:10]
    try:
        index = decode(sealed(content))
    except StorageError:
        return
    assert index.raw_size == sum(section.raw_length for section in index.sections)
