"""How many packets a recorder's file holds, and from when to when.

capinfos tells it of pcap and pcapng.  stenotype writes the kernel's blocks as they are, and its own
reader needs its service; every block begins with how many packets the kernel has put there.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.twin import BLOCK, USER

BLOCK_SIZE = 2**20
_SECOND = 10**9
_STATUS, _PACKETS, _FIRST, _LAST = 2, 3, 7, 9


class Span(NamedTuple):
    """The packets of a file: how many, and the stamps of the first and the last, ns since 1970."""

    packets: int
    first: int
    last: int


def packets(file: Path) -> int:
    """As Wireshark counts them; a last one cut short does not count."""
    words = ["capinfos", "-M", "-c", "-r", "-T", str(file)]
    if file.suffix == ".xz":
        with tempfile.NamedTemporaryFile(dir=file.parent) as raw:
            subprocess.run(["xz", "-dcT0", str(file)], stdout=raw, check=True)
            return packets(Path(raw.name))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1])


def span(file: Path) -> Span | None:
    """As Wireshark tells it; None without a packet."""
    words = ["capinfos", "-M", "-c", "-a", "-e", "-S", "-r", "-T", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    _, count, first, last = done.stdout.rstrip("\n").split("\t")
    return Span(int(count), _nanoseconds(first), _nanoseconds(last)) if int(count) else None


def block_files(directory: Path) -> list[Path]:
    """stenotype's: those that are being written have a dot before their name."""
    return sorted(directory.rglob("PKT*/*"), key=lambda path: path.name.lstrip("."))


def block_packets(file: Path) -> int:
    """Of a file of blocks."""
    return sum(block[_PACKETS] for block in _blocks(file))


def block_span(file: Path) -> Span | None:
    """Of a file of blocks; None without a packet."""
    found = list(_blocks(file))
    if not found:
        return None
    first, last = (
        block[at] * _SECOND + block[at + 1]
        for block, at in ((found[0], _FIRST), (found[-1], _LAST))
    )
    return Span(sum(block[_PACKETS] for block in found), first, last)


def _blocks(file: Path) -> Iterator[tuple[int, ...]]:
    """The headers of the blocks that the kernel has filled; a last one cut short does not count."""
    with file.open("rb") as content:
        for at in range(0, file.stat().st_size - BLOCK_SIZE + 1, BLOCK_SIZE):
            content.seek(at)
            block = BLOCK.unpack(content.read(BLOCK.size))
            if block[_STATUS] & USER and block[_PACKETS]:
                yield block


def _nanoseconds(text: str) -> int:
    seconds, _, rest = text.partition(".")
    return int(seconds) * _SECOND + int(f"{rest:0<9}"[:9] or 0)
