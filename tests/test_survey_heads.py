"""`_survey.survey` and its twin at the begin of a segment: section header and interface."""

from __future__ import annotations

import struct

import pytest

from capd import pcapng
from capd.survey import BAD, NO_STAMP, SHORT, UNKNOWN_LINK, UNTOLD
from tests.support.survey_twin import IDB, NAMES, SHB
from tests.support.surveying import Function, block, body, both, epb, head, run

_HEAD = head()
_IDB_AT = struct.unpack_from("<I", _HEAD, 4)[0]
_SHB, _IDB = _HEAD[:_IDB_AT], _HEAD[_IDB_AT:]
_FRAME = bytes(range(64))
_NS = struct.pack("<HHI", 9, 1, 9)  # if_tsresol


def description(options: bytes, link: int = 1) -> bytes:
    """An Interface Description Block."""
    return block(IDB, struct.pack("<HHI", link, 0, 262144) + options)


@both
@pytest.mark.parametrize("link_type", [0, 1, 101, 113, 276, 65535])
def test_only_a_head(function: Function, link_type: int) -> None:
    """No packet, nothing told; the link is known."""
    content = head(link_type)
    assert run(function, content) == (len(content), 0, link_type, 0, *NO_STAMP, UNTOLD, 0, b"")


@both
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (_SHB, SHORT),
        (_SHB + _IDB[:-1], SHORT),
        (_SHB + pcapng.padding(16), SHORT),
        (_IDB, BAD),
        (epb(_FRAME) + _HEAD, BAD),
        (pcapng.padding(12) + _HEAD, BAD),
        (_SHB + _SHB + _IDB, BAD),
        (_SHB + epb(_FRAME) + _IDB, BAD),
        (_SHB + block(NAMES, bytes(4)) + _IDB, BAD),
        (block(SHB, bytes(16)) + _IDB, BAD),  # no byte order
        (block(SHB, struct.pack(">IHHQ", 0x1A2B3C4D, 1, 0, 2**64 - 1)) + _IDB, BAD),
        (block(SHB, struct.pack("<IHHQ", 0x1A2B3C4D, 2, 0, 2**64 - 1)) + _IDB, BAD),
        (block(SHB, struct.pack("<IHHI", 0x1A2B3C4D, 1, 0, 0)) + _IDB, BAD),  # too short
        (_SHB + block(IDB, bytes(4)), BAD),
        (_SHB + description(b""), BAD),  # no if_tsresol: microseconds
        (_SHB + description(struct.pack("<HHI", 9, 1, 6)), BAD),
        (_SHB + description(struct.pack("<HHI", 9, 1, 0x89)), BAD),
        (_SHB + description(struct.pack("<HHI", 9, 2, 9)), BAD),
        (_SHB + description(_NS + struct.pack("<HHI", 9, 1, 6)), BAD),
        (_SHB + description(bytes(4) + _NS), BAD),  # behind the end of the options
        (_SHB + description(_NS + struct.pack("<HH", 2, 1)), BAD),  # goes on beyond the block
    ],
)
def test_heads_that_are_none(function: Function, content: bytes, fault: int) -> None:
    """Nothing of it is walked: without both blocks nothing else can be read."""
    got = run(function, content)
    assert got[:4] == (0, fault, UNKNOWN_LINK, 0)


@both
def test_heads_that_are_some(function: Function) -> None:
    """Padding in it, minor versions, options in any order and without an end."""
    plain = block(SHB, struct.pack("<IHHQ", 0x1A2B3C4D, 1, 2, 77))
    for content in (
        _SHB + pcapng.padding(4096) + pcapng.padding(12) + _IDB,
        plain + description(struct.pack("<HHI", 2, 3, 0) + _NS),
        plain + description(_NS + bytes(4) + b"rest"),
    ):
        assert run(function, content + epb())[:4] == (len(content) + 32, 0, 1, 1)


@both
def test_no_second_head(function: Function) -> None:
    """One section and one interface are all that capd writes."""
    for second in (_SHB, _IDB, _HEAD):
        got = run(function, _HEAD + epb() + second)
        assert got[:4] == (len(_HEAD) + 32, BAD, 1, 1)
        assert body(function, second)[:2] == (0, BAD)
