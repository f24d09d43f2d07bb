"""Reads the interface statistics of a pcapng file.

No tool shows them for files of any size: capinfos only counts the blocks, and tshark
(which dissects a file's own blocks under `-X 'read_format:MIME Files Format'`) gives up
after a million items.  So the tests read them here, apart from capd, and one test holds
this reader against tshark's.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STATISTICS = 5
_START, _END, _RECEIVED, _DROPPED, _OS_DROPPED, _DELIVERED = 2, 3, 4, 5, 7, 8


@dataclass(frozen=True)
class InterfaceStatistics:
    """One Interface Statistics Block; None for what it does not say.

    Times are in units of the interface's resolution (capd: ns since 1970).
    """

    time: int
    start: int | None
    end: int | None
    received: int | None
    dropped: int | None
    os_dropped: int | None
    delivered: int | None


def interface_statistics(path: Path) -> list[InterfaceStatistics]:
    """The statistics blocks of a little-endian pcapng file, plain or `.zst`, in its order."""
    if path.suffix == ".zst":
        content = subprocess.run(
            ["zstd", "-dcq", str(path)], stdout=subprocess.PIPE, check=True
        ).stdout
    else:
        content = path.read_bytes()
    return [_statistics(body) for kind, body in blocks(content) if kind == _STATISTICS]


def blocks(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each block of a little-endian pcapng file."""
    position = 0
    while position < len(content):
        kind, size = struct.unpack_from("<II", content, position)
        assert size >= 12, f"block of {size} bytes at {position}"
        yield kind, content[position + 8 : position + size - 4]
        position += size


def _statistics(body: bytes) -> InterfaceStatistics:
    options = dict(_options(body[12:]))
    return InterfaceStatistics(
        _time(body[4:12]),
        _time(options[_START]) if _START in options else None,
        _time(options[_END]) if _END in options else None,
        *(
            int.from_bytes(options[code], "little") if code in options else None
            for code in (_RECEIVED, _DROPPED, _OS_DROPPED, _DELIVERED)
        ),
    )


def _time(field: bytes) -> int:
    high, low = struct.unpack("<II", field)
    return int(high) << 32 | int(low)


def _options(field: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(field):
        code, size = struct.unpack_from("<HH", field, position)
        if code == 0:
            return
        yield code, field[position + 4 : position + 4 + size]
        position += 4 + (size + 3 & ~3)
