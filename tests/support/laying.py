"""Segments whose names and indexes tell what a test wants, with a few bytes of data."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capd import hold_folder
from capd import index as indexes
from capd.catalog import Catalog, Segment
from capd.holds import Hold
from capd.index import Index, Section
from capd.names import SegmentName, damaged_name
from capd.survey import NO_STAMP, UNTOLD
from capd.units import SECOND
from tests.support.recorder import CAPD

SIZE = 4096  # bytes of each
NOON = 1_763_985_600 * SECOND  # 2025-11-24


def lay(
    directory: Path,
    name: SegmentName,
    last: int | None = None,
    *,
    packets: int = 1,
    closed: int = 0,
) -> Path:
    """A segment; with an index if `last`, its largest stamp, is given."""
    path = directory / name.ring / name.folder / name.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(SIZE))
    if last is not None:
        stamps = (name.stamp, last) if packets else NO_STAMP
        section = Section(0, SIZE, 0, SIZE, *stamps, packets, UNTOLD, closed, 0, b"")
        content = indexes.encode(Index(SIZE, SIZE, 1, (section,)))
        (path.parent / name.index_file).write_bytes(content)
    return path


def lay_aside(directory: Path, ring: str, seq: int) -> Path:
    """What is left of a segment that nobody understood."""
    path = directory / ring / damaged_name(seq)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(SIZE))
    return path


HOLD = Hold("0123abcd", NOON, NOON + SECOND, ("v0",), "case 42", NOON, None, "root")


def with_hold(path: Path) -> Path:
    """A directory in which HOLD is in force."""
    path.mkdir(0o750)
    with folder_of(path) as folder:
        hold_folder.write(folder, HOLD)
    return path


@contextmanager
def folder_of(directory: Path) -> Iterator[int]:
    """That of the holds, made where it is missing."""
    folder = hold_folder.make(str(directory))
    try:
        yield folder
    finally:
        os.close(folder)


def there(directory: Path, ring: str) -> list[Segment]:
    """The segments of a ring, by number."""
    found = Catalog(str(directory)).scan()
    return found[ring].segments if ring in found else []


def capd(
    config: Path, *words: str, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """A word of the command line, run to its end."""
    argv = [*prefix, str(CAPD), *words, "--config", str(config)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)
