"""The survey under test, and small segments for it, by hand: blocks, and frames in them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from types import ModuleType

import pytest

from capd import pcapng
from capd.messages import Source
from capd.survey import Survey
from tests.support import compiled as modules
from tests.support import survey_twin
from tests.support.survey_twin import EPB, Answer
from tests.support.twin import exact

NAME = "capd._survey"
Function = Callable[[memoryview, int, int, int, bool], Answer]


def compiled() -> ModuleType:
    """The C module."""
    return modules.compiled(NAME)


both = pytest.mark.parametrize(
    "function",
    [compiled().survey, lambda content, *rest: survey_twin.survey(bytes(content), *rest)],
    ids=["c", "twin"],
)


def agreed(content: bytes, start: int = 0, limit: int | None = None, link_type: int = -1) -> Answer:
    """What C and twin say, which must be the same; C sees nothing behind the content."""
    arguments = (start, len(content) if limit is None else limit, link_type, True)
    got: Answer = compiled().survey(exact(content), *arguments)
    expected = survey_twin.survey(content, *arguments)
    if got != expected:
        raise AssertionError(f"{got} instead of {expected} for {content.hex()}, {arguments}")
    return got


def run(
    function: Function, content: bytes, start: int = 0, limit: int | None = None, link: int = -1
) -> Survey:
    """The survey of all of it, unless a limit is given; no sketch."""
    stop = len(content) if limit is None else limit
    return Survey(*function(exact(content), start, stop, link, False))


def body(function: Function, content: bytes, limit: int | None = None) -> Survey:
    """The survey of blocks without a head."""
    return run(function, content, 0, limit, 1)


def head(link_type: int = 1) -> bytes:
    """What a segment begins with."""
    return pcapng.header(Source("eth0", "eth0", link_type, None, "", 0, 262144, "host", True))


def block(kind: int, body: bytes) -> bytes:
    """Any block; the body is not padded."""
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def epb(
    data: bytes = b"",
    stamp: int = 1,
    *,
    captured: int | None = None,
    original: int | None = None,
    interface: int = 0,
    options: bytes = b"",
) -> bytes:
    """An Enhanced Packet Block; lengths follow from the data unless they are said."""
    captured = len(data) if captured is None else captured
    original = captured if original is None else original
    fields = (interface, stamp >> 32, stamp & 0xFFFFFFFF, captured, original)
    return block(EPB, struct.pack("<5I", *fields) + data + bytes(-len(data) % 4) + options)


def segment(packets: Iterable[bytes], link_type: int = 1) -> bytes:
    """A head and one block a packet."""
    return head(link_type) + b"".join(map(epb, packets))


def isb(stamp: int, options: Iterable[tuple[int, bytes]], *, interface: int = 0) -> bytes:
    """An Interface Statistics Block, without an end of its options."""
    body = struct.pack("<III", interface, stamp >> 32, stamp & 0xFFFFFFFF)
    for code, value in options:
        body += struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(survey_twin.ISB, body)
