"""What a capture is measured under, besides alone: each has its name, its load and its place.

Owns the names, what each changes, and what has to be there meanwhile: an archive to search, a slow
disk.  Capture beside compression is a matter of its own (tests/bench/beside.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from capd.units import format_size
from tests.bench.extract import NOTHING, SEGMENT, capd_extract, tcpdump_read
from tests.bench.measure import Load, Place, place
from tests.bench.recorders import ROTATE_SECONDS, Job, Recorder, is_archive
from tests.bench.searching import Search, drop
from tests.bench.searching import run as search_once
from tests.bench.slow import slow_disk
from tests.bench.stored import Archive, make_raw
from tests.support.traffic import MIB

ROTATE = 64 * MIB
SEARCHED = 4 * SEGMENT
_OVERHEAD = 512 * MIB  # of a file system


@dataclass(frozen=True)
class Condition:
    """What is special about some runs."""

    name: str
    text: str
    load: Callable[[Load], Load]
    place: Callable[[Path, Load, int], AbstractContextManager[Place]]


@contextmanager
def _usual(directory: Path, load: Load, rate: int) -> Iterator[Place]:
    yield place(directory)


@contextmanager
def _slow(directory: Path, load: Load, rate: int) -> Iterator[Place]:
    size = load.file_bytes * 2 + _OVERHEAD
    with TemporaryDirectory(dir=directory) as below, slow_disk(Path(below), size, rate) as slow:
        yield Place(slow, directory)


@contextmanager
def _searched(directory: Path, load: Load, rate: int) -> Iterator[Place]:
    archive = make_raw(directory / "archive", SEARCHED, SEGMENT)

    @contextmanager
    def beside(recorder: Recorder, job: Job) -> Iterator[list[None]]:
        if recorder.helps is is_archive:
            one = capd_extract(archive, NOTHING, 0)
        else:
            one = tcpdump_read(archive, NOTHING, directory)
        # Nobody is made nice; and capd extract is told where the daemon says how it is.
        one = replace(one, prefix=("env", f"RUNTIME_DIRECTORY={job.runtime}"))
        over, done = Event(), list[None]()
        with ThreadPoolExecutor(1) as pool:
            searching = pool.submit(_search, one, archive, over, done)
            try:
                yield done
            finally:
                over.set()
            searching.result()

    yield Place(directory, directory, beside)


def _search(one: Search, archive: Archive, over: Event, done: list[None]) -> None:
    """Again and again, from the disk."""
    while not over.is_set():
        drop(archive.segments)
        search_once(one)
        done.append(None)


def _alone(load: Load) -> Load:
    return load


def _rotating(load: Load) -> Load:
    return replace(load, rotate=ROTATE)


def _two(load: Load) -> Load:
    return replace(load, interfaces=2)


CONDITIONS = {
    one.name: one
    for one in (
        Condition("alone", "nothing else", _alone, _usual),
        Condition(
            "rotation",
            f"a new file every {ROTATE_SECONDS} s and, but for netsniff-ng and daemonlogger, "
            f"every {format_size(ROTATE)}",
            _rotating,
            _usual,
        ),
        Condition("two", "two interfaces, half of the frames on each", _two, _usual),
        Condition(
            "extraction",
            f"beside it {format_size(SEARCHED)} are searched from the disk, again and again, "
            "by capd extract or tcpdump -r",
            _alone,
            _searched,
        ),
        Condition("slow", "a disk that takes no more than --disk", _alone, _slow),
    )
}
