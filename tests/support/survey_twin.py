"""A slow twin of `_survey.survey`, written from draft-ietf-opsawg-pcapng.

It is the oracle of tests/test_survey.py and tests/fuzz_survey.py, and knows of `_survey.c`
only what capd/survey.py says about it.  The sketch is tests/support/sketch_twin.py's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support import sketch_twin

SHB, IDB, OLD_PACKET, SIMPLE_PACKET, NAMES, ISB, EPB = 0x0A0D0D0A, 1, 2, 3, 4, 5, 6
LOCAL, CUSTOM = 0x80000001, 0x00000BAD
SHORT, BAD = 1, 2
UNTOLD = NO_FIRST = 2**64 - 1

MOST_CAPTURED = 262144
MOST_BLOCK = MOST_CAPTURED + 65536 + 32
MOST_LOCAL = 4 * 2**20

Answer = tuple[int, int, int, int, int, int, int, int, bytes]


class ShortError(Exception):
    """The content ends before the block does."""


class BadError(Exception):
    """This is no block of capd's."""


@dataclass
class _State:
    link_type: int
    stamps: list[int] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    lost: int = UNTOLD
    closed: int = 0


def survey(content: bytes, start: int, limit: int, link_type: int, sketch: bool) -> Answer:
    """What `_survey.survey` does, one block after the other."""
    content = bytes(content)
    state = _State(link_type)
    end, fault = start, 0
    try:
        for block_end in _walk(content, start, limit, state):
            end = block_end
    except ShortError:
        fault = SHORT
    except BadError:
        fault = BAD
    made = b""
    if sketch and state.link_type >= 0:
        made = sketch_twin.sketch(state.link_type, state.packets)
    first = min(state.stamps, default=NO_FIRST)
    last = max(state.stamps, default=0)
    counts = (len(state.stamps), first, last, state.lost, state.closed)
    return end, fault, state.link_type, *counts, made


def _walk(content: bytes, at: int, limit: int, state: _State) -> Iterator[int]:
    """The end of each unit that was walked: the head, then blocks."""
    first = True
    while at < len(content) and (first or at < limit):
        if state.link_type == -1:
            at = _head(content, at, state)
        else:
            if not first and limit < len(content) and _ends_after(content, at, limit):
                return
            kind, body, at = block(content, at)
            _take(kind, body, state)
        yield at
        first = False


def _ends_after(content: bytes, at: int, limit: int) -> bool:
    """Whether the block, which is no bad one, is beyond the limit: whole, or cut off."""
    try:
        *_, end = block(content, at)
    except ShortError:
        return True
    return end > limit


def block(content: bytes, at: int) -> tuple[int, bytes, int]:
    """Type, body and end of the block at `at`."""
    if at + 12 > len(content):
        raise ShortError
    kind, length = struct.unpack_from("<II", content, at)
    if length < 12 or length % 4 or length > (MOST_LOCAL if kind >= 2**31 else MOST_BLOCK):
        raise BadError
    end = at + length
    if end > len(content):
        raise ShortError
    if content[end - 4 : end] != content[at + 4 : at + 8]:
        raise BadError
    return kind, content[at + 8 : end - 4], end


def _head(content: bytes, at: int, state: _State) -> int:
    kind, body, at = block(content, at)
    if kind != SHB or len(body) < 16 or body[:6] != b"\x4d\x3c\x2b\x1a\x01\x00":
        raise BadError
    while True:
        kind, body, at = block(content, at)
        if kind == IDB:
            break
        if kind < 2**31:
            raise BadError
    if len(body) < 8:
        raise BadError
    resolutions = [value for code, value in options(body[8:]) if code == 9]
    if not resolutions or any(value != b"\x09" for value in resolutions):
        raise BadError
    (state.link_type,) = struct.unpack_from("<H", body)
    return at


def _take(kind: int, body: bytes, state: _State) -> None:
    if kind not in {EPB, ISB} and kind < 2**31:
        raise BadError
    if kind == EPB:
        _packet(body, state)
    if kind == ISB:
        _statistics(body, state)


def _packet(body: bytes, state: _State) -> None:
    if len(body) < 20:
        raise BadError
    interface, high, low, captured, original = struct.unpack_from("<5I", body)
    data = body[20 : 20 + captured]
    padded = captured + -captured % 4
    if interface or captured > min(original, MOST_CAPTURED) or 20 + padded > len(body):
        raise BadError
    options(body[20 + padded :])
    state.stamps.append(high * 2**32 + low)
    state.packets.append(data)


def _statistics(body: bytes, state: _State) -> None:
    if len(body) < 12 or body[:4] != bytes(4):
        raise BadError
    told = {
        code: int.from_bytes(value, "little")
        for code, value in options(body[12:])
        if len(value) == 8
    }
    if {4, 8} <= told.keys():
        state.lost = max(0, told[4] - told[8])
    elif 7 in told:
        state.lost = told[7]
    high, low = struct.unpack_from("<II", body, 4)
    state.closed = high * 2**32 + low


def options(content: bytes) -> list[tuple[int, bytes]]:
    found = []
    while content:
        if len(content) < 4:
            raise BadError
        code, length = struct.unpack_from("<HH", content)
        if code == 0 and length:
            raise BadError
        if code == 0:
            break
        if 4 + length + -length % 4 > len(content):
            raise BadError
        found.append((code, content[4 : 4 + length]))
        content = content[4 + length + -length % 4 :]
    return found
