"""Promise P1, held against files: every packet is in one of them or in a counter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from capd.names import parse_segment
from tests.support import judge
from tests.support.frames import Stream
from tests.support.recorder import Recorder, Summary


def check_ledger(
    capd: Recorder, directory: Path, ring: str, stream: Stream, sent: int | None
) -> Summary:
    """The equation to the packet, and files that hold exactly what was written, in order.

    `sent`: what the kernel accepted; None if the test does not know.
    """
    summary = capd.summary(ring)
    if sent is not None:
        assert summary.received == sent
    assert summary.lost == summary.dropped + summary.disk + summary.malformed
    assert summary.received == summary.written + summary.lost, summary
    check_files(all_files(directory, ring), stream, summary.written)
    return summary


def check_files(paths: list[Path], stream: Stream, written: int) -> None:
    """These files hold `written` frames, each unchanged, in order and once."""
    found = judge.numbers(paths, stream)
    assert len(found) == written
    assert found == sorted(set(found))
    assert not found or found[0] >= stream.first


def all_files(directory: Path, ring: str) -> list[Path]:
    """Every file of a ring that may hold packets, in the order of their numbers."""
    folder = directory / ring
    found = (path for path in folder.glob("*/*.pcapng*") if parse_segment(path.name))
    finished = sorted(found, key=lambda path: _number(path.name))
    return finished + sorted(folder.glob("*.part"))


def complaints(capd: Recorder) -> list[str]:
    """The bad news since it began to capture."""
    lines = list(capd.lines)
    begin = next((at for at, line in enumerate(lines) if ": capturing " in line), 0)
    return [line for line in lines[begin:] if re.search(" (WARNING|ERROR) ", line)]


def suspects(directory: Path, ring: str) -> list[Path]:
    """The segments that the disk refused to confirm."""
    return sorted((directory / ring).glob("*/*.pcapng.suspect"))


def deleted(lines: Iterable[str], ring: str = "v0") -> list[int]:
    """The numbers of the segments that retention told of, in this order."""
    found: list[int] = []
    for line in lines:
        if match := re.search(rf"INFO +{re.escape(ring)}: deleted for \w+: segment (\d+),", line):
            found.append(int(match[1]))
        elif match := re.search(
            rf"INFO +{re.escape(ring)}: deleted for \w+: [\d,]+ segments, (\d+) to (\d+),", line
        ):
            found.extend(range(int(match[1]), int(match[2]) + 1))
    return found


def assert_all_clean(paths: Iterable[Path]) -> None:
    """`assert_clean` for many files."""
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(judge.assert_clean, paths):
            pass


def _number(name: str) -> int:
    return int(name.partition(".pcapng")[0].rpartition("_")[2])
