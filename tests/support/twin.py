"""The slow twin of `capd.capture._pack.pack`, and blocks to give to both.

Written from <linux/if_packet.h>, <linux/if_ether.h>, draft-ietf-opsawg-pcapng 4.3 and the
stub of `_pack`; it shares no line and no table with the C code.  Everything is native
byte order, as in the ring and in the files.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

# struct tpacket_block_desc: version, offset_to_priv, then struct tpacket_hdr_v1:
# block_status, num_pkts, offset_to_first_pkt, blk_len, seq_num, ts_first, ts_last.
BLOCK = struct.Struct("=IIIIIIQIIII")
STATUS_AT, PACKETS_AT, FIRST_AT, LENGTH_AT = 8, 12, 16, 20
# struct tpacket3_hdr: next_offset, sec, nsec, snaplen, len, status, mac, net; then
# struct tpacket_hdr_variant1: rxhash, vlan_tci, vlan_tpid, padding; then 8 bytes of padding.
HEADER = struct.Struct("=IIIIIIHHIIHH8x")
# struct sockaddr_ll: family, protocol, ifindex, hatype, pkttype, halen, addr.
ADDRESS = struct.Struct("=HHiHBB8s")
LEAST_RECORD = HEADER.size + ADDRESS.size
USUAL_MAC = 82  # where the kernel puts an Ethernet frame, without PACKET_RESERVE

USER, CSUMNOTREADY, VLAN_VALID, VLAN_TPID_VALID = 1 << 0, 1 << 3, 1 << 4, 1 << 6
CSUM_VALID, GSO_TCP = 1 << 7, 1 << 8
HOST, BROADCAST, MULTICAST, OTHERHOST, OUTGOING = range(5)

MOST_CAPTURED = 262144
EMPTY = (2**64 - 1, 0)  # smallest and largest stamp of nothing


@dataclass(frozen=True)
class Packet:
    """One packet of a ring block; what is None follows from the rest."""

    data: bytes = b""  # without its outer tag
    seconds: int = 1_700_000_000
    nanoseconds: int = 0
    status: int = USER
    tci: int = 0
    tpid: int = 0
    kind: int = HOST
    length: int | None = None  # on the wire
    captured: int | None = None  # as the header says
    mac: int = USUAL_MAC
    next_offset: int | None = None

    def record(self, *, last: bool) -> bytes:
        """Header, address and data, as they stand in a block."""
        size = -(-(self.mac + len(self.data)) // 8) * 8
        following = 0 if last else size
        header = HEADER.pack(
            following if self.next_offset is None else self.next_offset,
            self.seconds,
            self.nanoseconds,
            len(self.data) if self.captured is None else self.captured,
            len(self.data) if self.length is None else self.length,
            self.status,
            self.mac,
            self.mac + 14,
            0x12345678,  # rxhash
            self.tci,
            self.tpid,
            0,
        )
        address = ADDRESS.pack(17, 0x0008, 1, 1, self.kind, 6, bytes(8))
        return (header + address).ljust(self.mac, b"\xee") + self.data.ljust(size - self.mac, b"\0")


def block(
    packets: list[Packet],
    size: int | None = None,
    *,
    announced: int | None = None,
    first: int = BLOCK.size,
) -> bytes:
    """A retired block; by default as large as its packets need."""
    rest = [packet.record(last=False) for packet in packets[:-1]]
    content = b"".join(rest + [packet.record(last=True) for packet in packets[-1:]])
    count = len(packets) if announced is None else announced
    used = BLOCK.size + len(content)
    fields = (2, BLOCK.size, USER, count, first, used, 1, 0, 0, 0, 0)
    return (BLOCK.pack(*fields) + content).ljust(size or 0, b"\0")


def exact(content: bytes | bytearray) -> memoryview:
    """Memory with nothing behind it that belongs to it: a sanitizer sees the first byte past."""
    memory = memoryview(array("B", b"\0") * len(content))  # one made from bytes has room to grow
    memory[:] = content
    return memory


def pack(  # noqa: PLR0917  as in C
    ring: memoryview,
    block_offset: int,
    block_size: int,
    staging: memoryview,
    start: int,
    snaplen: int,
    record_direction: bool,
    since: int,
    until: int,
) -> tuple[int, int, int, int, int, int, int]:
    """What `_pack.pack` does, one packet after the other."""
    content = bytes(ring[block_offset : block_offset + block_size])
    said, first = struct.unpack_from("=II", content, PACKETS_AT)
    announced = min(said, block_size // LEAST_RECORD)
    stamps: list[int] = []
    clamped = overlap = 0
    end = start
    for record in _chain(content, first, announced):
        made = _read(record)
        if made is None:
            continue
        if not since <= made.stamp < until:
            overlap += 1
            continue
        written = made.as_block(record_direction)
        if end + len(written) > len(staging):
            continue
        staging[end : end + len(written)] = written
        end += len(written)
        stamps.append(made.stamp)
        clamped += made.from_ring < min(snaplen, made.wire)
    smallest, largest = (min(stamps), max(stamps)) if stamps else EMPTY
    malformed = announced - len(stamps) - overlap
    return end, len(stamps), malformed, clamped, smallest, largest, overlap


class _Made(NamedTuple):
    """A packet that can be written."""

    stamp: int
    data: bytes
    original: int
    flags: int
    from_ring: int  # bytes of it that the ring held, as far as they are written
    wire: int  # its length without the tag

    def as_block(self, with_flags: bool) -> bytes:
        high, low = divmod(self.stamp, 2**32)
        body = struct.pack("=IIIII", 0, high, low, len(self.data), self.original)
        body += self.data + bytes(-len(self.data) % 4)
        if with_flags:
            body += struct.pack("=HHIHH", 2, 4, self.flags, 0, 0)
        length = struct.pack("=I", 12 + len(body))
        return struct.pack("=I", 6) + length + body + length


def _chain(content: bytes, at: int, most: int) -> Iterator[bytes]:
    """From every header that the chain reaches to the block's end."""
    for _ in range(most):
        if not BLOCK.size <= at <= len(content) - LEAST_RECORD:
            return
        yield content[at:]
        (step,) = struct.unpack_from("=I", content, at)
        if step < LEAST_RECORD:
            return
        at += step


def _read(record: bytes) -> _Made | None:
    (_, seconds, nanoseconds, captured, wire, status, mac, _, _, tci, tpid, _) = HEADER.unpack_from(
        record
    )
    if mac < LEAST_RECORD or mac + captured > len(record):
        return None
    data, original = record[mac : mac + captured], wire
    tag = b""
    if status & VLAN_VALID and captured >= 12:
        tag = struct.pack(">HH", tpid if status & VLAN_TPID_VALID else 0x8100, tci & 0xFFFF)
        data = data[:12] + tag + data[12:]
        original = min(wire + 4, 2**32 - 1)
    data = data[:MOST_CAPTURED]
    if len(data) > original:
        return None
    (*_, kind, _, _) = ADDRESS.unpack_from(record, HEADER.size)
    stamp = seconds * 10**9 + nanoseconds
    return _Made(stamp, data, original, _flags(status, kind), len(data) - len(tag), wire)


def _flags(status: int, kind: int) -> int:
    """epb_flags: bits 0-1 direction, 2-4 reception type, 9-11 checksum and offload."""
    direction = 0b10 if kind == OUTGOING else 0b01
    unicast, multicast, broadcast, promiscuous, unspecified = 1, 2, 3, 4, 0
    by_kind = {HOST: unicast, MULTICAST: multicast, BROADCAST: broadcast, OTHERHOST: promiscuous}
    flags = direction | by_kind.get(kind, unspecified) << 2
    for bit, meaning in ((CSUMNOTREADY, 9), (CSUM_VALID, 10), (GSO_TCP, 11)):
        flags |= bool(status & bit) << meaning
    return flags
