"""`_survey.survey` and its twin: what a segment's blocks say, and where they stop being capd's."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd import pcapng
from capd.survey import BAD, NO_STAMP, SHORT, UNKNOWN_LINK, UNTOLD, Survey, survey
from tests.support import judge, survey_twin
from tests.support.need import need
from tests.support.survey_twin import CUSTOM, EPB, ISB, LOCAL, MOST_BLOCK, MOST_LOCAL, NAMES
from tests.support.surveying import Function, agreed, block, body, both, epb, head, isb, run

_HEAD = head()
_FRAME = bytes(range(64))
_STAMP = 1_700_000_000 * 10**9


@both
def test_a_segment(function: Function) -> None:
    """As the worker writes it: head, packets, padding, statistics."""
    content = _HEAD + epb(_FRAME, _STAMP + 9) + epb(_FRAME, _STAMP + 2) + pcapng.padding(400)
    content += epb(_FRAME, _STAMP + 5)
    content += pcapng.statistics(_STAMP + 20, _STAMP, _STAMP + 10, 12, 9, 3)
    got = run(function, content)
    assert got == Survey(len(content), 0, 1, 3, _STAMP + 2, _STAMP + 9, 9, _STAMP + 20, sketch=b"")


@both
def test_nothing(function: Function) -> None:
    """No bytes are no fault."""
    assert run(function, b"") == (0, 0, UNKNOWN_LINK, 0, *NO_STAMP, UNTOLD, 0, b"")
    assert run(function, _HEAD, len(_HEAD), None, 1)[:2] == (len(_HEAD), 0)


@both
@pytest.mark.parametrize("kind", [LOCAL, 2**31, 0x80000BAD, 0xFFFFFFFF])
def test_blocks_of_local_use(function: Function, kind: int) -> None:
    """Are stepped over, whatever is in them."""
    content = epb() + block(kind, b"") + epb() + block(kind, b"\xff" * 400)
    assert body(function, content)[:4] == (len(content), 0, 1, 2)


@both
@pytest.mark.parametrize("kind", [0, 2, 3, NAMES, 9, 10, CUSTOM, 0x40000BAD, 12345])
def test_blocks_that_capd_does_not_write(function: Function, kind: int) -> None:
    """One bit makes a packet a block of names, and a reader stumble; type 0 was never written."""
    assert body(function, epb() + block(kind, bytes(40)))[:4] == (32, BAD, 1, 1)


@both
@pytest.mark.parametrize("length", [0, 4, 8, 11, 13, 14, 2**31, 2**32 - 4, 2**32 - 1])
def test_lengths_that_cannot_be(function: Function, length: int) -> None:
    """Nothing is known of what follows."""
    broken = struct.pack("<II", NAMES, length) + bytes(400)
    assert body(function, epb() + broken)[:4] == (32, BAD, 1, 1)


@both
def test_the_longest_blocks(function: Function) -> None:
    """A packet with all of its options; padding of 4 MiB; four bytes more are too much."""
    for kind, most in ((ISB, MOST_BLOCK), (LOCAL, MOST_LOCAL)):
        whole = block(kind, bytes(most - 12))
        assert body(function, whole)[:2] == (most, 0)
        assert body(function, whole[:-1])[:2] == (0, SHORT)
        assert body(function, block(kind, bytes(most - 8)))[:2] == (0, BAD)
        assert body(function, block(kind, bytes(most - 8))[:40])[:2] == (0, BAD)


@both
def test_trailing_length(function: Function) -> None:
    """Must be the same, in all of its bytes."""
    for at in range(1, 5):
        content = bytearray(epb() + epb(_FRAME))
        content[-at] ^= 0x40
        assert body(function, bytes(content))[:4] == (32, BAD, 1, 1)


@both
@pytest.mark.parametrize(
    ("made", "sound"),
    [
        (epb(_FRAME), True),
        (epb(b""), True),
        (epb(_FRAME, original=2**32 - 1), True),
        (epb(_FRAME, captured=61), True),
        (epb(_FRAME, captured=64, options=struct.pack("<HHII", 2, 4, 9, 0)), True),
        (epb(bytes(262144)), True),
        (epb(_FRAME, interface=1), False),
        (epb(_FRAME, captured=65), False),
        (epb(_FRAME, captured=2**32 - 1), False),
        (epb(_FRAME, captured=2**32 - 4, original=2**32 - 1), False),
        (epb(_FRAME, original=63), False),
        (epb(bytes(262148), captured=262145), False),
        (block(EPB, bytes(16)), False),
    ],
)
def test_packets(function: Function, made: bytes, sound: bool) -> None:
    """One that cannot be ends the walk before it."""
    got = body(function, epb() + made)
    assert got[:4] == ((32 + len(made), 0, 1, 2) if sound else (32, BAD, 1, 1))


@both
def test_stamps(function: Function) -> None:
    """All 64 bits, in any order."""
    stamps = [2**63, 5, 2**64 - 1, 2**32, 2**32 - 1]
    got = body(function, b"".join(epb(b"", stamp) for stamp in stamps))
    assert (got.packets, got.first, got.last) == (5, 5, 2**64 - 1)
    assert body(function, epb(b"", 0))[3:6] == (1, 0, 0)


def _counters(**numbers: int) -> list[tuple[int, bytes]]:
    codes = {"received": 4, "os_drop": 7, "delivered": 8}
    return [(codes[name], struct.pack("<Q", number)) for name, number in numbers.items()]


@both
@pytest.mark.parametrize(
    ("options", "lost"),
    [
        (_counters(received=10, delivered=4), 6),
        (_counters(received=10, delivered=4, os_drop=3), 6),
        (_counters(os_drop=3, delivered=10, received=10), 0),
        (_counters(received=4, delivered=10), 0),
        (_counters(received=2**64 - 1, delivered=0), 2**64 - 1),
        (_counters(os_drop=3), 3),
        (_counters(os_drop=3, received=9), 3),
        (_counters(received=9), UNTOLD),
        (_counters(delivered=9), UNTOLD),
        ([(7, b"\3\0\0\0")], UNTOLD),  # of a length that it does not have
        ([(0, b""), *_counters(os_drop=3)], UNTOLD),  # behind the end of the options
        ([(1, b"five!"), *_counters(os_drop=3)], 3),
        ([], UNTOLD),
    ],
)
def test_what_statistics_tell(
    function: Function, options: list[tuple[int, bytes]], lost: int
) -> None:
    """Packets lost since the segment began, and when somebody counted."""
    got = body(function, isb(_STAMP, options))
    assert (got.fault, got.lost, got.closed) == (0, lost, _STAMP)


@both
def test_the_last_statistics_count(function: Function) -> None:
    """The last that tell, and the stamp of the last."""
    content = isb(9, _counters(os_drop=7)) + isb(8, _counters(os_drop=5)) + isb(7, [])
    got = body(function, content)
    assert (got.lost, got.closed) == (5, 7)


@both
@pytest.mark.parametrize(
    "broken",
    [
        isb(1, [], interface=1),
        block(survey_twin.ISB, bytes(8)),
        block(survey_twin.ISB, bytes(12) + struct.pack("<HHI", 4, 8, 0)),
    ],
)
def test_statistics_that_are_none(function: Function, broken: bytes) -> None:
    """They change nothing of what was told before."""
    before = isb(3, _counters(os_drop=1))
    got = body(function, before + broken)
    assert (got.end, got.fault, got.lost, got.closed) == (len(before), BAD, 1, 3)


@both
def test_limit(function: Function) -> None:
    """A block that would end behind it waits, unless it is the first one."""
    content = epb() * 4
    for limit in range(len(content) + 1):
        got = body(function, content, limit)
        assert (got.end, got.fault) == (max(32, limit // 32 * 32), 0)
    for limit in range(len(_HEAD) + 33):
        got = run(function, _HEAD + content, 0, limit)
        assert (got.end - len(_HEAD), got.fault) == (0 if limit < len(_HEAD) + 32 else 32, 0)


@both
def test_limit_and_what_is_behind(function: Function) -> None:
    """What ends behind it may be cut off, but not be bad: that is said at once."""
    content = epb() + epb(_FRAME)
    for cut in range(1, 96):
        got = body(function, content[:-cut], min(40, len(content) - cut - 1))
        assert (got.end, got.fault) == (32, 0)
        assert body(function, content[:-cut])[:2] == (32, SHORT)
    assert body(function, epb() + bytes(40), 40)[:2] == (32, BAD)
    assert body(function, epb() + bytes(40), 32)[:2] == (32, 0)


@both
def test_start(function: Function) -> None:
    """Anywhere, aligned or not; what was walked before is another call's."""
    content = b"\xff" * 3 + epb(_FRAME) + epb()
    assert run(function, content, 3, link=1)[:4] == (len(content), 0, 1, 2)
    assert run(function, content, 3 + 96, link=1)[:4] == (len(content), 0, 1, 1)


def test_sections_add_up() -> None:
    """Limit after limit finds what one call finds."""
    content = _HEAD + b"".join(epb(bytes(i % 300), i + 1) for i in range(500))
    content += pcapng.statistics(9, 1, 2, 5, 2, 3)
    whole = agreed(content)
    at, link_type, packets = 0, -1, 0
    while at < len(content):
        part = agreed(content, at, min(at + 4096, len(content)), link_type)
        assert at < part[0] <= max(at + 4096, at + len(_HEAD))
        at, fault, link_type = part[:3]
        packets += part[3]
        assert fault == 0
    assert (packets, part[6:8]) == (whole[3], whole[6:8]) == (500, (2, 9))


_SMALL = _HEAD + epb(_FRAME, _STAMP) + pcapng.statistics(_STAMP, 1, 2, 3, 0, 3) + epb(b"a" * 5)


def test_every_length() -> None:
    """Cut anywhere: the whole blocks are found, and what is left is short, never bad."""
    ends = {0, len(_HEAD), len(_HEAD) + 96, len(_SMALL) - 40, len(_SMALL)}
    for length in range(len(_SMALL) + 1):
        end, fault, *_ = agreed(_SMALL[:length])
        assert end == max(each for each in ends if each <= length)
        assert fault == (0 if length in ends else SHORT)


def test_every_changed_byte() -> None:
    """C and twin agree on each, and a changed length is never followed."""
    for at in range(len(_SMALL)):
        for change in (0x01, 0x04, 0x80, 0xFF):
            content = _SMALL[:at] + bytes([_SMALL[at] ^ change]) + _SMALL[at + 1 :]
            end, *_ = agreed(content)
            assert end in {0, len(_HEAD), len(_HEAD) + 96, len(_SMALL) - 40, len(_SMALL)}
            if at in {4, 5, len(_HEAD) + 4, len(_HEAD) + 95}:
                assert end < len(_SMALL)


@given(st.binary(max_size=300), st.sampled_from([-1, 0, 1, 101]), st.integers(0, 2**32))
def test_noise(content: bytes, link_type: int, place: int) -> None:
    """Whatever it is: both say the same."""
    start = place % (len(content) + 1)
    agreed(content, start, start + place % (len(content) - start + 1), link_type)
    agreed(_HEAD + content)
    agreed(content + _HEAD, len(content), len(content), link_type)


def test_keywords() -> None:
    """The function for everybody else: a segment from its begin, no sketch unless asked for."""
    content = _HEAD + epb(_FRAME, 7)
    got = survey(memoryview(content), 0, len(content))
    assert got == Survey(len(content), 0, 1, 1, 7, 7, UNTOLD, 0, b"")
    assert survey(content, len(_HEAD), len(content), 1, sketch=True).sketch != b""
    assert survey(content, len(_HEAD), len(content), 127, sketch=True).sketch == b""


def test_readers_agree(tmp_path: Path) -> None:
    """What is sound here is sound to Wireshark's tools, and holds as many packets."""
    need("tcpdump", "tshark", "capinfos")
    path = tmp_path / "small.pcapng"
    path.write_bytes(_SMALL)
    judge.assert_clean(path)
    assert len(list(judge.packets(path))) == agreed(_SMALL)[3] == 2
