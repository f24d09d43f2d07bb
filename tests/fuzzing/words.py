"""Any text as what people type or a folder shows: times, sizes, shares, names of files.

What must hold: a value in its bounds or a ValueError on one line; what capd prints is read back
as the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from capd import names
from capd.times import EXAMPLES, parse_time
from capd.units import (
    DURATIONS,
    MAX,
    SIZES,
    format_duration,
    format_time,
    parse_duration,
    parse_share,
    parse_size,
)
from tests.fuzzing import refusal

_NOW = 1_767_225_600_000_000_042
_SEGMENT = names.SegmentName("eth0:1", _NOW, 42, names.COMPRESSED_SUFFIX)
WORDS = (*SIZES, *DURATIONS, "yesterday", "today", "now", " ago", "UTC", "+01:00", ".idx", ".part")


def seeds() -> Iterator[bytes]:
    """All of the examples."""
    yield from (word.strip('"').encode() for word in EXAMPLES.split(", "))
    yield from (b"1.5h ago", b"@1763954320.5", b"yesterday 03:12", b"2026-11-24T03:12:05.25+01:00")
    yield from (b"256MiB", b"0.5 kB", b"500ms", b"95%", b"12.5 %")
    yield from (_SEGMENT.file.encode(), _SEGMENT.index_file.encode())
    yield from (f"{_SEGMENT.file}.part".encode(), names.part_name(7).encode())
    yield names.damaged_name(10**12).encode()


def check(data: bytes) -> None:
    """By every reader."""
    text = data.decode(errors="surrogateescape")
    _time(text)
    _number(text, parse_size)
    duration = _number(text, parse_duration)
    if duration is not None:
        assert parse_duration(format_duration(duration)) == duration
    with suppress(ValueError):
        assert 0 < parse_share(text) <= 1
    _name(text)


def _time(text: str) -> None:
    try:
        instant = parse_time(text, _NOW)
    except ValueError as error:
        refusal.check(error)
        return
    assert 0 <= instant <= MAX
    assert parse_time(format_time(instant), _NOW) == instant


def _number(text: str, parse: Callable[[object], int]) -> int | None:
    try:
        value = parse(text)
    except ValueError as error:
        refusal.check(error)
        return None
    assert 0 <= value <= MAX
    return value


def _name(text: str) -> None:
    segment = names.parse_segment(text)
    if segment is not None:
        assert segment.file == text
        assert names.is_folder(segment.folder)
    indexed = names.parse_index(text)
    assert indexed is None or indexed.index_file == text
    made = names.parse_temporary(text)
    assert made is None or text.startswith(made.file)
    part, damaged = names.parse_part(text), names.parse_damaged(text)
    assert part is None or names.part_name(part) == text
    assert damaged is None or names.damaged_name(damaged) == text
