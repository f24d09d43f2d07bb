"""What is in a capture directory, read strictly and apart from capd.

Names are taken apart here, and files by `survey_twin`, which was written from the standard.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

import zstandard

from capd.units import SECOND
from tests.modelling.capture import RING, STREAM
from tests.support import survey_twin

_STAMP = r"\d{8}T\d{6}\.\d{9}Z"
_FINISHED = re.compile(rf"{RING}_({_STAMP})_(\d{{10}})\.pcapng(\.zst|\.suspect)?")
_PART = re.compile(r"(\d{10})\.pcapng\.part")
_DAMAGED = re.compile(r"(\d{10})\.pcapng\.damaged")
_HALF = re.compile(rf"{RING}_{_STAMP}_\d{{10}}\.pcapng.*\.part")

USELESS = b"useless"  # in the place of an index
Packets = tuple[tuple[int, int], ...]  # numbers and stamps, in the order of the file


@dataclass
class Found:
    """One segment in one directory."""

    stamp: str = ""  # "": it was set aside
    data: list[Path] = field(default_factory=list)
    indexes: list[Path] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes that it takes on the disk."""
        return sum(path.stat().st_blocks * 512 for path in (*self.data, *self.indexes))

    @property
    def begins(self) -> int:
        """When it does by its name, ns since 1970; 0: nobody knows."""
        if not self.stamp:
            return 0
        second = datetime.strptime(f"{self.stamp[:15]}+0000", "%Y%m%dT%H%M%S%z")
        return int(second.timestamp()) * SECOND + int(self.stamp[16:25])

    @property
    def is_damaged(self) -> bool:
        """Whether it was set aside."""
        return not self.stamp


@dataclass
class Listing:
    """One directory."""

    finished: dict[int, Found] = field(default_factory=dict)
    parts: dict[int, Path] = field(default_factory=dict)
    half_made: list[Path] = field(default_factory=list)  # or an index without its data


class Block(NamedTuple):
    """Where a packet's block is, and the packet."""

    start: int
    end: int
    number: int
    stamp: int


def listing(directory: Path) -> Listing:
    """What is in a directory, by names."""
    made = Listing()
    paths = sorted(path for path in (directory / RING).rglob("*") if path.is_file())
    for path in paths:
        if match := _PART.fullmatch(path.name):
            made.parts[int(match[1])] = path
        elif match := _DAMAGED.fullmatch(path.name):
            made.finished.setdefault(int(match[1]), Found()).data.append(path)
        elif match := _FINISHED.fullmatch(path.name):
            found = made.finished.setdefault(int(match[2]), Found(match[1]))
            assert found.stamp == match[1], f"two names for one number: {path}, {found.data}"
            assert path.parent.name.replace("-", "") == match[1][:8], path
            found.data.append(path)
        elif _HALF.fullmatch(path.name):
            made.half_made.append(path)
    for path in paths:
        if path.suffix == ".idx" and (match := _FINISHED.fullmatch(path.stem)):
            if path.with_suffix("").exists():
                made.finished[int(match[2])].indexes.append(path)
            else:
                made.half_made.append(path)
    return made


def packets(path: Path, *, cut_off: bool = False) -> Packets:
    """All packets of a file; AssertionError if it is not whole, unless it may be `cut_off`."""
    return tuple((block.number, block.stamp) for block in blocks(path, cut_off=cut_off))


def blocks(path: Path, *, cut_off: bool) -> tuple[Block, ...]:
    """The same with their places; nothing is read twice that was not changed meanwhile."""
    status = path.stat()
    return _blocks(path, cut_off, status.st_ino, status.st_size, status.st_ctime_ns)


@cache
def _blocks(path: Path, cut_off: bool, *_: int) -> tuple[Block, ...]:
    content = path.read_bytes()
    if path.suffix == ".zst":
        content = zstandard.ZstdDecompressor().decompress(content)
    return blocks_of(content, cut_off=cut_off)


def blocks_of(content: bytes, *, cut_off: bool) -> tuple[Block, ...]:
    """Of a segment's bytes."""
    state = survey_twin._State(-1)
    found: list[Block] = []
    try:
        for end in survey_twin._walk(content, 0, len(content), state):
            found.extend(
                Block(
                    end - _size(state.packets[at]),
                    end,
                    _number(state.packets[at]),
                    state.stamps[at],
                )
                for at in range(len(found), len(state.packets))
            )
    except (survey_twin.ShortError, survey_twin.BadError) as error:
        if not cut_off:
            raise AssertionError(f"broken behind {found[-1:]}") from error
    return tuple(found)


def _size(data: bytes) -> int:
    return 32 + len(data) + -len(data) % 4


def _number(data: bytes) -> int:
    number = STREAM.number_in(data)
    assert number is not None
    assert data == STREAM.expected(number), f"packet {number} is not what it was"
    return number


def foreign(directories: list[Path]) -> dict[Path, tuple[int, int, bytes]]:
    """What capd has not written, as it is: by the names that the test gave it."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for directory in directories
        for path in directory.rglob("*")
        if path.name.startswith("foreign") or path.name.endswith(".bak")
    }


def is_useless(index: Path) -> bool:
    """Whether there is an index that nobody can read."""
    return index.exists() and index.read_bytes() == USELESS


def size_on_disk(path: Path) -> int:
    """Bytes that a file takes."""
    return os.stat(path).st_blocks * 512
