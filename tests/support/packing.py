"""The pack under test, and what it made of a block."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest

from tests.support import compiled as modules
from tests.support import twin
from tests.support.twin import MOST_CAPTURED, exact

NAME = "capd.capture._pack"
FILL = 0xA5
NEVER = 2**64 - 1  # later than every stamp

Pack = Callable[[memoryview, int, int, memoryview, int, int, bool, int, int], tuple[int, ...]]


def compiled() -> ModuleType:
    """The module."""
    return modules.compiled(NAME)


both = pytest.mark.parametrize("pack", [compiled().pack, twin.pack], ids=["c", "twin"])


class Record(NamedTuple):
    """An Enhanced Packet Block as read back; flags None without the option."""

    stamp: int
    data: bytes
    original: int
    flags: int | None


class Outcome(NamedTuple):
    """What `pack` gave, and what it wrote."""

    packets: int
    malformed: int
    clamped: int
    first: int
    last: int
    overlap: int
    written: bytes

    @property
    def records(self) -> list[Record]:
        """What was written, read back strictly."""
        found, at = [], 0
        while at < len(self.written):
            record, size = _record(self.written[at:])
            found.append(record)
            at += size
        return found


def _record(content: bytes) -> tuple[Record, int]:
    kind, size, interface, high, low, captured, original = struct.unpack_from("=7I", content)
    assert (kind, interface) == (6, 0)
    assert struct.unpack_from("=I", content, size - 4) == (size,)
    padded = -(-captured // 4) * 4
    data = content[28 : 28 + padded]
    assert data[captured:] == bytes(padded - captured)
    options = content[28 + padded : size - 4]
    flags = None
    if options:
        code, length, flags, end = struct.unpack("=HHII", options)
        assert (code, length, end) == (2, 4, 0)
    return Record(high << 32 | low, data[:captured], original, flags), size


def run(
    pack: Pack,
    content: bytes,
    *,
    room: int | None = None,
    start: int = 0,
    snaplen: int = MOST_CAPTURED,
    direction: bool = False,
    since: int = 0,
    until: int = NEVER,
) -> Outcome:
    """Packs one block and checks that nothing but the announced bytes was touched."""
    ring = exact(content)
    staging = exact(bytes([FILL]) * (len(content) + 64 + start if room is None else room))
    done = pack(ring, 0, len(content), staging, start, snaplen, direction, since, until)
    end, packets, malformed, clamped, first, last, overlap = done
    assert bytes(ring) == content
    assert 0 <= start <= end <= len(staging)
    untouched = bytes(staging[:start]) + bytes(staging[end:])
    assert untouched == bytes([FILL]) * len(untouched)
    return Outcome(packets, malformed, clamped, first, last, overlap, bytes(staging[start:end]))


def poked(content: bytes, offset: int, value: int) -> bytes:
    """With one 32-bit word changed."""
    return content[:offset] + struct.pack("=I", value) + content[offset + 4 :]
