"""The pcapng blocks that capd writes, except packets, which `capture._pack` makes.

Format: draft-ietf-opsawg-pcapng.  One interface a file and a declared snaplen that is
always the same, because libpcap refuses anything else; statistics and padding only in
blocks that no reader shows as packets (tshark lists Custom Blocks).  This module knows
bytes; it touches no file.
"""

from __future__ import annotations

import re
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from capd import __version__
from capd.messages import Source
from capd.units import format_time

SNAPLEN = 262144  # the most that libpcap reads
LINKTYPE_ETHERNET = 1  # of tcpdump.org/linktypes.html
SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
INTERFACE_STATISTICS = 5
ENHANCED_PACKET = 6
PADDING = 0x80000001  # local use: skipped by every reader
LEAST_BLOCK = 12

_BYTE_ORDER = 0x1A2B3C4D
_UNKNOWN_LENGTH = 0xFFFFFFFFFFFFFFFF
_NANOSECONDS = 9
_MOST_TEXT = 32 * 1024

# Option codes; those above 1 mean something else in every kind of block.
_COMMENT = 1
_SHB_OS, _SHB_APPLICATION = 3, 4
_IF_NAME, _IF_SPEED, _IF_TSRESOL, _IF_FILTER = 2, 8, 9, 11
_ISB_START, _ISB_END, _ISB_RECEIVED, _ISB_DROP, _ISB_OS_DROP, _ISB_DELIVERED = 2, 3, 4, 5, 7, 8

_TOLD_SNAPLEN = re.compile(r", snaplen ([0-9]{1,9})(?:, filter since \S+)?$")

_Options = Iterable[tuple[int, bytes]]


def _pad(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def _block(kind: int, body: bytes, options: _Options) -> bytes:
    for code, value in options:
        body += struct.pack("=HH", code, len(value)) + _pad(value)
    body += bytes(4)  # opt_endofopt
    length = struct.pack("=I", LEAST_BLOCK + len(body))
    return struct.pack("=I", kind) + length + body + length


def _text(value: str) -> bytes:
    cut = value.encode("utf-8", "replace")[:_MOST_TEXT]
    return cut.decode("utf-8", "ignore").encode()  # a character that was cut in two goes


def _stamp(nanoseconds: int) -> bytes:
    return struct.pack("=II", nanoseconds >> 32, nanoseconds & 0xFFFFFFFF)


def section(comment: str) -> bytes:
    """A section header; `comment` tells people what it is."""
    body = struct.pack("=IHHQ", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH)
    application = (_SHB_APPLICATION, _text(f"capd {__version__}"))
    return _block(
        SECTION_HEADER, body, [(_SHB_OS, b"Linux"), application, (_COMMENT, _text(comment))]
    )


def interface(name: str, link_type: int, speed: int | None = None, filter: str = "") -> bytes:  # noqa: A002
    """The description of an interface, whose stamps are in nanoseconds."""
    options = [(_IF_NAME, _text(name)), (_IF_TSRESOL, bytes([_NANOSECONDS]))]
    if speed is not None:
        options.append((_IF_SPEED, struct.pack("=Q", speed)))
    if filter:
        options.append((_IF_FILTER, b"\0" + _text(filter)))
    return _block(INTERFACE_DESCRIPTION, struct.pack("=HHI", link_type, 0, SNAPLEN), options)


def header(source: Source) -> bytes:
    """What every segment begins with: a section header and the description of its interface."""
    about = f"host {source.host}, ring {source.ring}, snaplen {source.snaplen}"
    if source.filter_since:
        about += f", filter since {format_time(source.filter_since)}"
    return section(about) + interface(
        source.interface, source.link_type, source.speed, source.filter
    )


def read_header(content: bytes) -> tuple[str, int] | None:
    """The filter and the snaplen in what begins as `header` has it; None if it does not."""
    at, snaplen = 0, SNAPLEN
    while at + LEAST_BLOCK <= len(content):
        kind, length = struct.unpack_from("=II", content, at)
        block = content[at : at + length]
        if length < LEAST_BLOCK or len(block) < length:
            break
        if kind == INTERFACE_DESCRIPTION:
            text = dict(options(block[16:-4])).get(_IF_FILTER, b"")
            return text[1:].decode(errors="replace"), snaplen
        if kind == SECTION_HEADER:
            comment = dict(options(block[24:-4])).get(_COMMENT, b"").decode(errors="replace")
            told = _TOLD_SNAPLEN.search(comment)
            snaplen = int(told[1]) if told else SNAPLEN
        at += length
    return None


def fingerprint(header: bytes) -> int:
    """A header's 64 bits, to know it by: CRC and length (hashlib takes 4 ms to import)."""
    return zlib.crc32(header) << 32 | len(header)


def statistics(  # noqa: PLR0913, PLR0917  the block has these fields
    now: int,
    first: int,
    last: int,
    received: int,
    dropped: int,
    written: int,
    comment: str = "",
    *,
    missed: int = 0,
    interface: int = 0,
) -> bytes:
    """Counters since the segment began; `now`, `first` and `last` in ns since 1970.

    `received` is every packet that the segment accounts for, `dropped` those of them that
    found no room in the ring, `written` those in the file.  `missed` are others, which the NIC
    had no room for; 0, which may be because its driver does not tell, is left out.
    """
    options = [
        (_ISB_START, _stamp(first)),
        (_ISB_END, _stamp(last)),
        (_ISB_RECEIVED, struct.pack("=Q", received)),
        (_ISB_OS_DROP, struct.pack("=Q", dropped)),
        (_ISB_DELIVERED, struct.pack("=Q", written)),
    ]
    if missed:
        options.append((_ISB_DROP, struct.pack("=Q", missed)))
    if comment:
        options.append((_COMMENT, _text(comment)))
    return _block(INTERFACE_STATISTICS, struct.pack("=I", interface) + _stamp(now), options)


class Statistics(NamedTuple):
    """What a block that `statistics` made says; 0 or "" for what it leaves out."""

    now: int
    received: int
    dropped: int
    written: int
    missed: int
    comment: str


def read_statistics(block: bytes) -> Statistics:
    """What a whole Interface Statistics Block says, however odd its options are."""
    high, low = struct.unpack_from("=II", block, 12)
    found = dict(options(block[20:-4]))
    codes = (_ISB_RECEIVED, _ISB_OS_DROP, _ISB_DELIVERED, _ISB_DROP)
    counters = (int.from_bytes(found.get(code, b"")[:8], sys.byteorder) for code in codes)
    comment = found.get(_COMMENT, b"").decode(errors="replace")
    received, dropped, written, missed = counters
    return Statistics(high << 32 | low, received, dropped, written, missed, comment)


def options(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The options in the rest of a block, up to their end or to the first that is cut off."""
    at = 0
    while at + 4 <= len(content):
        code, size = struct.unpack_from("=HH", content, at)
        if code == 0 or at + 4 + size > len(content):
            return
        yield code, content[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


def padding(length: int) -> bytes:
    """A block of `length` bytes that every reader skips; at least 12, a multiple of 4."""
    size = struct.pack("=I", length)
    return struct.pack("=I", PADDING) + size + bytes(length - LEAST_BLOCK) + size
