"""Judges recorded files, through other people's tools only.

capd must not vouch for itself: libpcap (by way of tcpdump) and Wireshark read the files.
Every path may be plain or `.zst`; tcpdump is given the latter through zstd.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise, takewhile
from pathlib import Path
from typing import IO, NamedTuple

from tests.support.frames import Stream

_NORMAL = ("reading from file ", "Running as user ")
_MAGIC_NANOSECONDS = 0xA1B23C4D
_FILE_HEADER, _RECORD_HEADER = struct.Struct("<I20x"), struct.Struct("<IIII")
_NANOSECONDS = 1_000_000_000


class Packet(NamedTuple):
    """One packet of a file: time in ns since 1970, length on the wire, bytes kept of it."""

    time: int
    original_length: int
    data: bytes


def assert_clean(path: Path) -> None:
    """tshark, capinfos and tcpdump read the file to its end and complain of nothing."""
    for argv in (["tshark", "-q", "-r", str(path)], ["capinfos", "-Mcdtu", str(path)]):
        done = subprocess.run(argv, capture_output=True, check=False)
        _assert_satisfied(argv, done.returncode, done.stderr)
    for _ in packets(path):
        pass


def packets(path: Path) -> Iterator[Packet]:
    """All packets of a file in its order, as libpcap reads them."""
    with _classic(path) as pipe:
        (magic,) = _FILE_HEADER.unpack(pipe.read(_FILE_HEADER.size))
        assert magic == _MAGIC_NANOSECONDS, f"{path}: tcpdump wrote magic {magic:#x}"
        while header := pipe.read(_RECORD_HEADER.size):
            seconds, nanoseconds, captured, original = _RECORD_HEADER.unpack(header)
            yield Packet(seconds * _NANOSECONDS + nanoseconds, original, pipe.read(captured))


def check_numbers(paths: Iterable[Path], stream: Stream, count: int) -> None:
    """The files hold the first `count` frames of `stream`: all, once, in order, unchanged."""
    paths = list(paths)
    number = stream.first
    for path in paths:
        for packet in packets(path):
            expected = stream.expected(number)
            if packet.data != expected or packet.original_length != len(expected):
                raise AssertionError(
                    f"{path}: frame {number} is wanted where {_difference(packet, stream, number)}"
                    f"; in all files: {_summary(paths, stream, count)}"
                )
            number += 1
    if number - stream.first != count:
        raise AssertionError(_summary(paths, stream, count))


def numbers(paths: Iterable[Path], stream: Stream) -> list[int]:
    """The number of every frame in the files, in their order; each must be unchanged."""
    found = []
    for path in paths:
        for packet in packets(path):
            number = stream.number_in(packet.data)
            if number is None or packet.data != stream.expected(number):
                raise AssertionError(f"{path}: {_difference(packet, stream, number)}")
            found.append(number)
    return found


def _difference(packet: Packet, stream: Stream, wanted: int | None) -> str:
    claimed = stream.number_in(packet.data)
    if claimed is None:
        return f"there is a packet too short for a number: {packet.data.hex()}"
    if claimed != wanted:
        return f"there is frame {claimed}"
    expected = stream.expected(claimed)
    lengths = (packet.original_length, len(packet.data))
    if packet.data == expected[: len(packet.data)]:
        return f"it has lengths {lengths} (on the wire, kept) instead of {len(expected)}"
    pairs = zip(packet.data, expected, strict=False)
    same = takewhile(lambda pair: pair[0] == pair[1], pairs)
    offset = sum(1 for _ in same)
    return (
        f"frame {claimed} differs from byte {offset} on: "
        f"{packet.data[offset : offset + 16].hex()} instead of "
        f"{expected[offset : offset + 16].hex()}"
    )


def _summary(paths: Iterable[Path], stream: Stream, count: int) -> str:
    claimed = [stream.number_in(packet.data) for path in paths for packet in packets(path)]
    found = Counter(number for number in claimed if number is not None)
    wanted = range(stream.first, stream.first + count)
    known = [number for number in claimed if number is not None]
    groups = {
        "missing": [number for number in wanted if number not in found],
        "more than once": sorted(number for number, times in found.items() if times > 1),
        "not of these": sorted(number for number in found if number not in wanted),
        "after a higher one": [after for before, after in pairwise(known) if after < before],
    }
    said = [f"{len(group)} {name} (first {group[0]})" for name, group in groups.items() if group]
    return f"{len(claimed)} packets for {count} frames; {', '.join(said) or 'no number is wrong'}"


@contextmanager
def _classic(path: Path) -> Iterator[IO[bytes]]:
    """The file as tcpdump rewrites it: classic pcap, little-endian, nanoseconds."""
    argv = ["tcpdump", "-r", "-" if path.suffix == ".zst" else str(path)]
    argv += ["--time-stamp-precision=nano", "-w", "-"]
    with ExitStack() as stack:
        complaints = stack.enter_context(tempfile.TemporaryFile())
        source = None
        if path.suffix == ".zst":
            source = stack.enter_context(_started(["zstd", "-dcq", str(path)], complaints))
        reader = stack.enter_context(_started(argv, complaints, source.stdout if source else None))
        assert reader.stdout is not None
        yield reader.stdout
        status = reader.wait() or (source.wait() if source else 0)
        complaints.seek(0)
        _assert_satisfied(argv, status, complaints.read())


@contextmanager
def _started(
    argv: list[str], complaints: IO[bytes], source: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        argv, stdin=source or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _assert_satisfied(argv: list[str], status: int, complaints: bytes) -> None:
    lines = complaints.decode(errors="replace").splitlines()
    said = [line for line in lines if line and not line.startswith(_NORMAL)]
    if status or said:
        raise AssertionError(f"{argv} ended with {status} and said: {said}")
