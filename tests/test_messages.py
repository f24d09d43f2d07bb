"""What the daemon and a worker say to each other arrives as it was sent."""

from __future__ import annotations

import socket
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd import messages
from capd.filter import MAX_TEXT
from capd.messages import (
    Adjust,
    ArchiveAdjust,
    ArchivePlan,
    ArchiveReport,
    ArchiveStart,
    Counters,
    Event,
    Expect,
    Finish,
    Finished,
    Load,
    Look,
    Missed,
    Plan,
    Report,
    Salvage,
    Source,
    Start,
)
from capd.ring import Geometry

_numbers = st.integers(0, 2**64 - 1)
_texts = st.text(max_size=50)
_counters = st.builds(Counters, *[_numbers] * len(Counters()))
_plans = st.builds(
    Plan,
    source=st.builds(
        Source,
        interface=_texts,
        ring=_texts,
        link_type=_numbers,
        speed=st.none() | _numbers,
        filter=_texts,
        filter_since=_numbers,
        snaplen=_numbers,
        host=_texts,
        record_direction=st.booleans(),
    ),
    geometry=st.builds(Geometry, _numbers, _numbers, _numbers),
    directory=_texts,
    rotate_size=_numbers,
    rotate_interval=_numbers,
    sync_interval=_numbers,
    second=_texts,
)
_archive_plans = st.builds(
    ArchivePlan,
    directory=_texts,
    require_mount=st.booleans(),
    compress=st.booleans(),
    level=st.integers(-100, 22),
    threads=_numbers,
    section_size=_numbers,
)
_EVERY: dict[type, st.SearchStrategy[messages.Message]] = {
    Start: st.builds(Start, _plans, ring_fd=_numbers, state_fd=_numbers, since=_numbers),
    Expect: st.builds(Expect),
    Adjust: st.builds(Adjust, _plans),
    Finish: st.builds(Finish, _numbers),
    Report: st.builds(
        Report,
        turns=_numbers,
        counters=_counters,
        segment=st.none() | _numbers,
        segment_bytes=_numbers,
        filled=st.floats(0, 1),
        oldest=st.none() | _numbers,
    ),
    Event: st.builds(Event, _texts, _texts, st.dictionaries(_texts, _numbers)),
    Missed: st.builds(Missed, _numbers),
    Finished: st.builds(Finished, _counters, _numbers),
    ArchiveStart: st.builds(ArchiveStart, _archive_plans),
    ArchiveAdjust: st.builds(ArchiveAdjust, _archive_plans),
    Load: st.builds(Load, st.floats(0, 1), st.booleans()),
    Look: st.builds(Look),
    Salvage: st.builds(Salvage, _texts, st.lists(_numbers).map(tuple)),
    ArchiveReport: st.builds(
        ArchiveReport, *[_numbers] * 7, paused=st.booleans(), level=st.integers(-100, 22)
    ),
}


def test_every_kind_is_tested() -> None:
    """A new kind of message needs a line above."""
    assert {*get_args(messages.Message)} == {*_EVERY}


@given(st.one_of(*_EVERY.values()))
def test_there_and_back(message: messages.Message) -> None:
    """Equal, and of the same types inside."""
    back = messages.decode(messages.encode(message))
    assert back == message
    assert repr(back) == repr(message)


def test_the_longest_filter_fits() -> None:
    """As one datagram, through a socket pair of the kind that is used."""
    source = Source("eth0", "eth0", 1, None, "\n" * MAX_TEXT, 0, 96, "h", record_direction=True)
    start = Start(Plan(source, Geometry(1, 2, 3), "/d", 1, 2, 3), 3, 4)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert len(messages.encode(start)) < messages.MAX_MESSAGE
        ours.send(messages.encode(start))
        assert messages.decode(theirs.recv(messages.MAX_MESSAGE)) == start


def test_a_message_of_no_kind_is_a_bug() -> None:
    """And is not taken for another."""
    with pytest.raises(KeyError):
        messages.decode(b'{"kind": "Begin"}')
    with pytest.raises(TypeError):
        messages.decode(b'{"kind": "Event", "name": "BUG", "text": "x", "facts": {}, "more": 1}')


def test_counters_balance() -> None:
    """Every packet is somewhere, or still in the ring."""
    counters = Counters(
        received=100, dropped=7, freezes=9, written=60, disk=5, malformed=3, overlap=2, clamped=50
    )
    assert counters.lost == 15
    assert counters.unaccounted == 23
