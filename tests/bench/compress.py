"""The benchmark of compression: what the archive process costs beside `zstd -3`.

    .venv/bin/python -m tests.bench.compress [--size 1GiB] [--rounds 5] [--directory /var/tmp]

One segment of traffic (tests/support/traffic.py), the same for both, in turns.  CPU is user
and system time of all threads.  "verification" is the decoding and comparing of every section,
measured in the thread that does it, and not in the line above it; "index" is what a segment
costs that stays raw, with the reading of it, and "index alone" what it adds where the bytes are
at hand, as they are for compressing.  A section is read from the disk, with the page cache
dropped, checked against its CRC, the index being at hand.  Medians, and the range of the rounds.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from capd.archive.compressor import section_of
from capd.index import Index, encode
from capd.sections import read_section
from capd.survey import UNKNOWN_LINK, survey
from capd.units import format_size, parse_size
from tests.bench.recorders import version_of
from tests.bench.report import report, rounds, save
from tests.support.compressing import compress_file, examine_file, rebuild_file
from tests.support.traffic import Traffic, write_segment

MIB = 2**20
SECTION = 4 * MIB
LEVEL = 3

Figures = dict[str, list[float]]


def main() -> None:
    """Parses the command line, runs everything, prints the table."""
    given = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="capd-compress-", dir=given.directory) as folder:
        raw = Path(folder) / "raw.pcapng"
        written = write_segment(raw, given.size, Traffic(pool=32 * MIB))
        about = report("tests.bench.compress", Path(folder), {"zstd": version_of("zstd", "-V")})
        about["notes"] = [
            f"{format_size(written.size)}, {written.packets:,} packets, {given.rounds} rounds",
            "CPU seconds of a segment, seconds of a section, ratios",
        ]
        print(about["notes"][0])
        figures: Figures = defaultdict(list)
        for _ in range(given.rounds):
            _round(raw, Path(folder), figures)
            found = {name: rounds(values) for name, values in figures.items()}
            save(given.json, about, found | {"size": written.size})
        _print(figures, written.size)


def _round(raw: Path, folder: Path, figures: Figures) -> None:
    ours, theirs = folder / "capd.zst", folder / "zstd.zst"
    with _spending(figures["zstd"], resource.RUSAGE_CHILDREN):
        argv = ["zstd", f"-{LEVEL}", "-T1", "-qf", str(raw), "-o", str(theirs)]
        subprocess.run(argv, check=True)
    with _spending(figures["capd"], resource.RUSAGE_SELF):
        made = compress_file(raw, ours, LEVEL, SECTION)
    verification = made.verification / 1e9
    figures["verification"].append(verification)
    figures["capd"][-1] -= verification
    with _spending(figures["index"], resource.RUSAGE_SELF):
        examine_file(raw, SECTION)
    figures["index alone"].append(_index_alone(raw, made.contents))
    figures["index's size"].append(len(encode(made.contents)) / ours.stat().st_size)
    with _spending(figures["rebuilding"], resource.RUSAGE_SELF):
        assert rebuild_file(ours) == made.contents
    figures["ratio of zstd"].append(raw.stat().st_size / theirs.stat().st_size)
    figures["ratio of capd"].append(raw.stat().st_size / ours.stat().st_size)
    figures["section, compressed"] += _read(ours, made.contents)
    figures["section, raw"] += _read(raw, examine_file(raw, SECTION))


@contextmanager
def _spending(into: list[float], who: int) -> Iterator[None]:
    """Seconds of CPU."""

    def spent() -> float:
        usage = resource.getrusage(who)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    yield
    into.append(spent() - before)


def _index_alone(raw: Path, contents: Index) -> float:
    """Seconds for the sections' survey, checksums and sketches, and for putting them together."""
    link_type, sections, spent = UNKNOWN_LINK, [], 0
    with raw.open("rb") as file:
        for one in contents.sections:
            content = os.pread(file.fileno(), one.raw_length, one.raw_offset)
            began = time.thread_time_ns()
            found = survey(content, 0, len(content), link_type, sketch=True)
            stored = one.stored_offset, one.stored_length
            sections.append(section_of(one.raw_offset, content, found, *stored))
            spent += time.thread_time_ns() - began
            link_type = found.link_type
    began = time.thread_time_ns()
    encode(contents._replace(sections=tuple(sections)))
    return (spent + time.thread_time_ns() - began) / 1e9


def _read(path: Path, index: Index) -> list[float]:
    """Seconds that each of some sections took."""
    took, numbers = [], range(len(index.sections))
    fd = os.open(path, os.O_RDONLY)
    try:
        for number in random.Random(1).sample(numbers, min(20, len(numbers))):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            began = time.perf_counter()
            read_section(fd, index, number)
            took.append(time.perf_counter() - began)
    finally:
        os.close(fd)
    return took


def _print(figures: Figures, size: int) -> None:
    def line(name: str, unit: str, turn: Callable[[float], float]) -> None:
        values = [turn(value) for value in figures[name]]
        middle, least, most = statistics.median(values), min(values), max(values)
        print(f"{name:20} {middle:8.3f} {unit:11} ({least:.3f} to {most:.3f})")

    for name in ("zstd", "capd", "verification", "index", "index alone", "rebuilding"):
        line(name, "ns/byte", lambda seconds: seconds * 1e9 / size)
    for name in ("ratio of zstd", "ratio of capd"):
        line(name, "", lambda ratio: ratio)
    for name in ("section, compressed", "section, raw"):
        line(name, "ms", lambda seconds: seconds * 1000)

    def share(part: str, *whole: str) -> float:
        sums: list[float] = [
            sum(values) for values in zip(*(figures[name] for name in whole), strict=True)
        ]
        return statistics.median(p / w for p, w in zip(figures[part], sums, strict=True))

    print("medians of the rounds:")
    print(f"capd takes {share('capd', 'zstd'):.3f} of zstd's CPU time for compressing")
    of_time = share("index alone", "capd", "verification")
    of_size = statistics.median(figures["index's size"])
    print(
        f"the index is {of_size:.2%} of the size, and {of_time:.1%} of the time with verification"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=2**30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", default="/var/tmp")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured")
    return parser


if __name__ == "__main__":
    main()
