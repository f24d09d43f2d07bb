"""What the daemon and a worker say to each other arrives as it was sent."""

from __future__ import annotations

import json
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
    Sample,
    Source,
    Start,
    Unknown,
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
    cpus=st.lists(_numbers).map(tuple),
    second=_texts,
)
_samples = st.builds(Sample, *[_numbers] * 8, refused=st.booleans())
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
    Start: st.builds(
        Start, _plans, ring_fd=_numbers, state_fd=_numbers, since=_numbers, version=_texts
    ),
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
        writes=st.lists(_numbers).map(tuple),
        samples=st.lists(_samples, max_size=3).map(tuple),
        full=st.booleans(),
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
    Unknown: st.builds(Unknown, _texts),
}
# What every version says, and none asks for more: fields without a default, by what they are in.
_FOR_EVER = {
    Start: "plan ring_fd state_fd",
    Adjust: "plan",
    Missed: "packets",
    Report: "turns counters segment segment_bytes filled",
    Event: "name text facts",
    Finished: "counters",
    ArchiveStart: "plan",
    ArchiveAdjust: "plan",
    Load: "filled late",
    Salvage: "ring seqs",
    ArchiveReport: (
        "turns backlog raw_left indexed compressed raw_bytes compressed_bytes paused level"
    ),
    Unknown: "name",
    Plan: "source geometry directory rotate_size rotate_interval sync_interval",
    Source: "interface ring link_type speed filter filter_since snaplen host record_direction",
    Geometry: "block_size blocks retire_ms",
    Sample: "at waiting written dropped disk writes slowest writing refused",
    ArchivePlan: "directory require_mount compress level threads section_size",
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


def test_every_version_understands_every_other() -> None:
    """A worker is of the next one, when it is started between an upgrade and a restart."""
    kinds = {*get_args(messages.Message), Plan, Source, Geometry, Counters, Sample, ArchivePlan}
    required = {kind: {*kind._fields} - {*kind._field_defaults} for kind in kinds}
    assert required == {kind: {*_FOR_EVER.get(kind, "").split()} for kind in kinds}


@given(st.one_of(*_EVERY.values()))
def test_what_a_later_version_says_besides(message: messages.Message) -> None:
    """It is left out, wherever it stands."""

    def grown(value: object) -> object:
        if isinstance(value, dict):
            more = {} if value is facts else {"more": [1]}
            return {key: grown(one) for key, one in value.items()} | more
        return value

    fields = json.loads(messages.encode(message))
    facts = fields.get("facts")
    for sample in fields.get("samples", []):
        sample.append(1)
    assert messages.decode(json.dumps(grown(fields)).encode()) == message


def test_a_message_of_no_kind() -> None:
    """It is not taken for another; one that lacks something is a bug."""
    assert messages.decode(b'{"kind": "Begin", "plan": 1}') == Unknown("Begin")
    with pytest.raises(TypeError):
        messages.decode(b'{"kind": "Event", "name": "BUG", "text": "x"}')


def test_counters_balance() -> None:
    """Every packet is somewhere, or still in the ring."""
    counters = Counters(
        received=100, dropped=7, freezes=9, written=60, disk=5, malformed=3, overlap=2, clamped=50
    )
    assert counters.lost == 15
    assert counters.unaccounted == 23
