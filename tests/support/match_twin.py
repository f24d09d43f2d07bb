"""Slow twins of `_match.match`, `_merge.order` and `_merge.merge`.

They know of the C only what the stubs beside it say.  A filter is a text that libpcap compiles
for the C, and beside it here what it means.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from tests.support.survey_twin import BAD, EPB, ISB, SHORT, BadError, ShortError, block, options

ENTRY = struct.Struct("<QII")
_TAGS = {b"\x81\x00", b"\x88\xa8"}
_FLAGS = 2
_CLASSIC = struct.Struct("<IIII")

Entries = list[tuple[int, int, int]]
Run = tuple[bytes, Entries, int, int]


class Frame(NamedTuple):
    """A packet as the kernel's filter meets it."""

    data: bytes
    length: int  # on the wire
    tag: int | None
    direction: int  # 0: not recorded


class Block(NamedTuple):
    """An Enhanced Packet Block."""

    stamp: int
    data: bytes
    original: int
    flags: int
    options: bytes  # as they stand there


FILTERS: dict[str, Callable[[Frame], bool]] = {
    "": lambda _: True,
    "ip": lambda frame: frame.data[12:14] == b"\x08\x00",
    "vlan": lambda frame: (
        frame.tag is not None or frame.data[12:14] in {b"\x81\x00", b"\x88\xa8", b"\x91\x00"}
    ),
    "greater 60": lambda frame: frame.length >= 60,
    "outbound": lambda frame: frame.direction == 2,
}


def match(  # noqa: PLR0917  as in C
    content: bytes, start: int, limit: int, link_type: int, text: str, since: int, until: int
) -> tuple[int, int, int, int, int, int, Entries]:
    """As the C with the program of `text`, one of FILTERS; the entries as tuples."""
    end = behind = start
    fault = packets = newest = undirected = 0
    entries: Entries = []
    while end < limit:
        try:
            kind, body, after = block(content[:limit], end)
            packet = _packet(body) if kind == EPB else None
            if packet is None and kind != ISB and kind < 2**31:
                raise BadError
        except (ShortError, BadError) as error:
            fault = SHORT if isinstance(error, ShortError) else BAD
            break
        if packet is not None:
            packets, newest = packets + 1, max(newest, packet.stamp)
            if since <= packet.stamp < until:
                frame = _frame(packet, link_type)
                if text == "outbound" and not frame.direction:
                    undirected += 1
                elif FILTERS[text](frame):
                    entries.append((packet.stamp, end, after - end))
        end = after
        behind = end if kind < 2**31 else behind
    return end, behind, fault, packets, newest, undirected, entries


def order(entries: Entries, newest: int, window: int) -> tuple[int, int, Entries]:
    """What C gives, and the entries in order."""
    late, keyed = 0, []
    for stamp, offset, length in entries:
        newest = max(newest, stamp)
        late += stamp < newest - window
        keyed.append((max(stamp, newest - window, 0), offset, length))
    return newest, late, sorted(keyed)


def merge(runs: list[Run], up_to: int, snaplen: int, *, classic: bool, most: int) -> bytes:
    """All records that are due, whatever room there is."""
    due = [
        (key, number, place)
        for number, (_, entries, written, _) in enumerate(runs)
        for place, (key, _, _) in enumerate(entries)
        if place >= written and key < up_to
    ]
    records = []
    for _, number, place in sorted(due)[:most]:
        content, entries, _, interface = runs[number]
        _, offset, length = entries[place]
        packet = _packet(content[offset + 8 : offset + length - 4])
        data = packet.data[:snaplen]
        if classic:
            seconds, rest = divmod(packet.stamp, 10**9)
            records.append(_CLASSIC.pack(seconds, rest, len(data), packet.original) + data)
            continue
        if len(data) == len(packet.data):  # whatever its padding is
            whole = content[offset : offset + length]
            records.append(whole[:8] + struct.pack("<I", interface) + whole[12:])
            continue
        stamp = divmod(packet.stamp, 2**32)
        body = struct.pack("<5I", interface, *stamp, len(data), packet.original)
        body += data + bytes(-len(data) % 4) + packet.options
        size = struct.pack("<I", len(body) + 12)
        records.append(struct.pack("<I", EPB) + size + body + size)
    return b"".join(records)


def _packet(body: bytes) -> Block:
    if len(body) < 20:
        raise BadError
    interface, high, low, captured, original = struct.unpack_from("<5I", body)
    padded = captured + -captured % 4
    if interface or captured > min(original, 262144) or 20 + padded > len(body):
        raise BadError
    rest = body[20 + padded :]
    told = [value for code, value in options(rest) if code == _FLAGS and len(value) == 4]
    flags = int.from_bytes(told[-1], "little") if told else 0
    return Block(high * 2**32 + low, body[20 : 20 + captured], original, flags, rest)


def _frame(packet: Block, link_type: int) -> Frame:
    data, length, tag = packet.data, packet.original, None
    if link_type == 1 and len(data) >= 16 and data[12:14] in _TAGS:
        tag = int.from_bytes(data[14:16], "big")
        data, length = data[:12] + data[16:], length - 4
    return Frame(data, length, tag, packet.flags & 3)
