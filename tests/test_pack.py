"""`_pack.pack` and its twin: what a sound ring block becomes, packet by packet.

tests/test_sanitizers.py runs these tests over a C module of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from capd import pcapng
from capd.messages import Source
from tests.support import judge
from tests.support.need import need
from tests.support.packing import Pack, Record, both, compiled, run
from tests.support.twin import (
    BROADCAST,
    CSUM_VALID,
    CSUMNOTREADY,
    GSO_TCP,
    HOST,
    MOST_CAPTURED,
    MULTICAST,
    OTHERHOST,
    OUTGOING,
    USER,
    VLAN_TPID_VALID,
    VLAN_VALID,
    Packet,
    block,
)

_STAMP = 1_700_000_000 * 10**9
_FRAME = bytes(range(64))


@both
@pytest.mark.parametrize("length", [*range(18), 60, 1514, 9000])
def test_lengths(pack: Pack, length: int) -> None:
    """Any length, padded to four bytes with zeros; the wire may have had more."""
    data = bytes(i % 251 for i in range(length))
    packets = [Packet(data), Packet(data, length=length + 1000, nanoseconds=1)]
    got = run(pack, block(packets))
    assert got.records == [
        Record(_STAMP, data, length, None),
        Record(_STAMP + 1, data, length + 1000, None),
    ]
    assert got[:5] == (2, 0, 1, _STAMP, _STAMP + 1)


@both
def test_no_packet(pack: Pack) -> None:
    """An empty block is no malformed one."""
    assert run(pack, block([], 4096)) == (0, 0, 0, 2**64 - 1, 0, 0, b"")


@pytest.mark.fault(5)
@both
@pytest.mark.parametrize(
    ("status", "tpid", "tci", "tag"),
    [
        (VLAN_VALID, 0, 101, "81000065"),
        (VLAN_VALID, 0x88A8, 101, "81000065"),  # a TPID that is not said to be valid
        (VLAN_VALID | VLAN_TPID_VALID, 0x8100, 101, "81000065"),
        (VLAN_VALID | VLAN_TPID_VALID, 0x88A8, 7, "88a80007"),
        (VLAN_VALID | VLAN_TPID_VALID, 0x9100, 0, "91000000"),
        (VLAN_VALID, 0, 0, "81000000"),
        (VLAN_VALID, 0, 0xF065, "8100f065"),  # PCP 7, DEI 1
        (VLAN_VALID, 0, 0xFFFF, "8100ffff"),
        (VLAN_TPID_VALID, 0x88A8, 7, ""),
        (0, 0x8100, 101, ""),
    ],
)
def test_tag_goes_back(pack: Pack, status: int, tpid: int, tci: int, tag: str) -> None:
    """Behind the addresses, whole; by the flag, never by the value."""
    got = run(pack, block([Packet(_FRAME, status=USER | status, tpid=tpid, tci=tci)]))
    tagged = _FRAME[:12] + bytes.fromhex(tag) + _FRAME[12:]
    assert got.records == [Record(_STAMP, tagged, len(tagged), None)]
    assert got.clamped == 0


@pytest.mark.fault(5)
@both
@pytest.mark.parametrize("stored", [0, 4, 11, 12, 13])
def test_tag_needs_both_addresses(pack: Pack, stored: int) -> None:
    """Of a frame cut before their end, the tag's place is not in the file."""
    packet = Packet(_FRAME[:stored], length=64, status=USER | VLAN_VALID, tci=5)
    (record,) = run(pack, block([packet]), snaplen=stored).records
    if stored < 12:
        assert record == (_STAMP, _FRAME[:stored], 64, None)
    else:
        expected = _FRAME[:12] + b"\x81\0\0\5" + _FRAME[12:stored]
        assert record == (_STAMP, expected, 68, None)


@pytest.mark.fault(8)
@both
@pytest.mark.parametrize("status", [0, VLAN_VALID])
@pytest.mark.parametrize("stored", [-5, -4, -3, -1, 0, 1, 4, 1000])
def test_no_more_than_readers_take(pack: Pack, status: int, stored: int) -> None:
    """libpcap refuses a file with one byte more than 262144 in a packet."""
    length = MOST_CAPTURED + stored
    data = bytes(length)
    got = run(pack, block([Packet(data, status=USER | status)]))
    tag = 4 if status else 0
    (record,) = got.records
    assert (len(record.data), record.original) == (min(length + tag, MOST_CAPTURED), length + tag)
    assert got.clamped == (len(record.data) - tag < min(length, MOST_CAPTURED))


@pytest.mark.fault(8)
@both
@pytest.mark.parametrize(
    ("stored", "wire", "snaplen", "clamped"),
    [
        (64, 64, 262144, 0),
        (64, 64, 64, 0),
        (64, 64, 0, 0),
        (64, 1500, 64, 0),  # cut by the filter's return value: asked for
        (64, 1500, 65, 1),  # cut by the block: not asked for
        (64, 1500, 262144, 1),
        (0, 60, 0, 0),
        (64, 2**32 - 1, 64, 0),
        (64, 2**32 - 1, 2**32 - 1, 1),
    ],
)
def test_clamped(pack: Pack, stored: int, wire: int, snaplen: int, clamped: int) -> None:
    """Only what the ring could not hold counts; the tag is no part of it."""
    for status in (USER, USER | VLAN_VALID):
        packet = Packet(_FRAME[:stored], length=wire, status=status)
        got = run(pack, block([packet]), snaplen=snaplen)
        assert got.clamped == clamped
        tag = 4 if status & VLAN_VALID and stored >= 12 else 0
        assert got.records[0].original == min(wire + tag, 2**32 - 1)


@both
def test_wire_length_below_the_captured_is_malformed(pack: Pack) -> None:
    """pcapng does not allow it; the tag may not hide it either."""
    for status in (USER, USER | VLAN_VALID):
        packets = [Packet(_FRAME, length=63, status=status), Packet(_FRAME, status=status)]
        got = run(pack, block(packets))
        assert (got.packets, got.malformed, len(got.records)) == (1, 1, 1)


@both
@pytest.mark.parametrize(
    ("kind", "status", "flags"),
    [
        (HOST, 0, 0b001_01),
        (MULTICAST, 0, 0b010_01),
        (BROADCAST, 0, 0b011_01),
        (OTHERHOST, 0, 0b100_01),
        (OUTGOING, 0, 0b000_10),
        (5, 0, 0b000_01),
        (255, 0, 0b000_01),
        (HOST, CSUMNOTREADY, 0b001_01 | 1 << 9),
        (HOST, CSUM_VALID, 0b001_01 | 1 << 10),
        (HOST, GSO_TCP, 0b001_01 | 1 << 11),
        (OUTGOING, CSUMNOTREADY | GSO_TCP | CSUM_VALID, 0b10 | 7 << 9),
        (HOST, 0xFFFFFFFF & ~(CSUMNOTREADY | CSUM_VALID | GSO_TCP | VLAN_VALID), 0b001_01),
    ],
)
@pytest.mark.parametrize("length", [0, 61])
def test_flags(pack: Pack, kind: int, status: int, flags: int, length: int) -> None:
    """How a packet was addressed, its direction, its checksum: only where they are asked for."""
    content = block([Packet(_FRAME[:length], kind=kind, status=status)])
    (with_flags,) = run(pack, content, direction=True).records
    (without,) = run(pack, content).records
    assert with_flags == without._replace(flags=flags)
    assert without.flags is None


@both
def test_stamps(pack: Pack) -> None:
    """64 bits of nanoseconds; the smallest and largest, whatever the order."""
    times = [(1_700_000_000, 5), (2**32 - 1, 999_999_999), (4, 294_967_296), (4, 294_967_295)]
    packets = [Packet(_FRAME, seconds=s, nanoseconds=n) for s, n in times]
    got = run(pack, block(packets))
    stamps = [s * 10**9 + n for s, n in times]
    assert [record.stamp for record in got.records] == stamps
    assert (got.first, got.last) == (2**32 - 1, stamps[1])
    assert run(pack, block([Packet(seconds=0)]))[3:5] == (0, 0)


@both
@pytest.mark.parametrize("start", [0, 1, 3, 4, 4097])
def test_start(pack: Pack, start: int) -> None:
    """Anywhere in the staging buffer; what stands before stays."""
    content = block([Packet(_FRAME)] * 3)
    assert run(pack, content, start=start).written == run(pack, content).written


@both
@pytest.mark.parametrize("direction", [False, True])
@pytest.mark.parametrize("missing", [0, 1, 4, 95, 96, 97, 300, 10**6])
def test_full_output(pack: Pack, missing: int, direction: bool) -> None:
    """Whole packets or nothing; the others count as not written."""
    content = block([Packet(_FRAME)] * 5)
    size = 96 + 12 * direction
    room = max(0, 5 * size - missing)
    got = run(pack, content, room=room, direction=direction)
    assert got.packets == len(got.records) == room // size
    assert got.malformed == 5 - got.packets


@both
def test_a_shorter_packet_fits_behind_one_that_does_not(pack: Pack) -> None:
    """Nobody relies on it; C and twin agree on it."""
    content = block([Packet(_FRAME), Packet(bytes(1000)), Packet(b"abc")])
    got = run(pack, content, room=200)
    assert [record.data for record in got.records] == [_FRAME, b"abc"]
    assert got.malformed == 1


_SOURCE = Source("eth0", "eth0", 1, None, "", 0, 262144, "host", record_direction=True)


@pytest.mark.fault(1)
def test_readers_open_what_is_made(tmp_path: Path) -> None:
    """libpcap and Wireshark find the packets, in files with and without directions."""
    need("tcpdump", "tshark", "capinfos")
    packets = [
        Packet(
            bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xB5]) + bytes(length),
            seconds=1_700_000_000 + length % 3,
            nanoseconds=length,
            status=USER | (VLAN_VALID if length % 2 else 0),
            tci=length,
            kind=length % 5,
            length=length + 14 + (length % 7 == 0) * 100,
        )
        for length in [*range(70), 1500, 9000, MOST_CAPTURED - 18, MOST_CAPTURED - 14]
    ]
    content = block(packets)
    for direction in (False, True):
        got = run(compiled().pack, content, room=2 * len(content), direction=direction)
        path = tmp_path / f"{direction}.pcapng"
        path.write_bytes(pcapng.header(_SOURCE) + got.written + pcapng.padding(12))
        judge.assert_clean(path)
        seen = [
            (packet.time, packet.original_length, packet.data) for packet in judge.packets(path)
        ]
        assert seen == [(record.stamp, record.original, record.data) for record in got.records]
        assert len(seen) == len(packets)


@both
def test_only_packets_of_the_window(pack: Pack) -> None:
    """What is stamped before it or from its end on is counted apart, and is not malformed."""
    packets = [Packet(bytes(60), nanoseconds=number) for number in (5, 3, 9, 4, 7)]
    got = run(pack, block(packets), since=_STAMP + 4, until=_STAMP + 7)
    assert [record.stamp - _STAMP for record in got.records] == [5, 4]
    assert got[:6] == (2, 0, 0, _STAMP + 4, _STAMP + 5, 3)


@both
@pytest.mark.parametrize(
    ("since", "until", "inside"),
    [
        (0, _STAMP + 5, range(5)),
        (0, _STAMP + 4, range(4)),
        (0, _STAMP, range(0)),
        (_STAMP, 2**64 - 1, range(5)),
        (_STAMP + 4, 2**64 - 1, range(4, 5)),
        (_STAMP + 5, 2**64 - 1, range(0)),
        (_STAMP + 2, _STAMP + 3, range(2, 3)),
        (_STAMP + 3, _STAMP + 3, range(0)),
        (_STAMP + 4, _STAMP + 1, range(0)),
        (0, 0, range(0)),
    ],
)
def test_the_ends_of_the_window(pack: Pack, since: int, until: int, inside: range) -> None:
    """The first one belongs to it, the second does not; what is outside is not clamped either."""
    content = block([Packet(_FRAME, nanoseconds=n, length=90) for n in range(5)])
    got = run(pack, content, since=since, until=until)
    assert [record.stamp - _STAMP for record in got.records] == [*inside]
    assert (got.packets, got.malformed, got.clamped) == (len(inside), 0, len(inside))
    assert got.overlap == 5 - len(inside)
    ends = (_STAMP + inside[0], _STAMP + inside[-1]) if inside else (2**64 - 1, 0)
    assert (got.first, got.last) == ends


@both
def test_the_window_comes_after_the_checks_and_before_the_room(pack: Pack) -> None:
    """A malformed packet has no time that counts; one that is outside needs no place."""
    packets = [Packet(_FRAME, length=63), Packet(_FRAME), Packet(_FRAME, nanoseconds=1)]
    got = run(pack, block(packets), room=0, since=_STAMP + 1)
    assert (got.packets, got.malformed, got.overlap) == (0, 2, 1)
