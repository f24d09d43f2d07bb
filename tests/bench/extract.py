"""The benchmark of extraction: `capd extract` and its peers over the same segments.

    .venv/bin/python -m tests.bench.extract                        a few minutes, 5 GB of disk
    .venv/bin/python -m tests.bench.extract --gib 20 --scan 4 --rounds 5

An archive of `--gib` GiB of raw segments is made (tests/bench/stored.py), and the first `--scan`
of them once more, compressed.  What must be searched packet by packet is these first ones, from
the page cache, by everybody in turns; so are the windows of time, and one address that is not in
the archive, of which all of it is asked.  Cold figures come last.

Seconds are from the start of a process to its end, with everything that starting takes; CPU is
that of all its threads and children.  Everybody has nice 19, as capd gives to its own searching,
and writes what matches as a capture file to /dev/null.  GiB are of pcapng, decoded.  "ratio" is
the median, over the rounds, of a peer's seconds by capd's: above 1, capd is faster; "CPU" the same
of CPU time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from capd.units import format_size
from tests.bench.recorders import version_of
from tests.bench.report import heading, report, rounds, save
from tests.bench.searching import Job, Outcome, Search, drop, first_packet, run, warm
from tests.bench.stored import Archive, make_compressed, make_raw, part
from tests.bench.table import line

GIB = 2**30
SEGMENT = GIB // 4
WINDOW = 10 * 10**9  # ns
NOTHING, EVERYTHING = "ip[8] == 3", "ip[8] == 64"  # of the time to live no sketch knows
ABSENT = "host 203.0.113.9"
PRESENT = "ip"

Results = dict[str, dict[str, list[Outcome]]]

_COLUMNS = (
    ("", 34),
    ("seconds", 22),
    ("GiB/s", 7),
    ("CPU s per GiB", 15),
    ("ratio", 7),
    ("CPU", 6),
)


def main() -> None:
    """Parses the command line, measures, prints."""
    given = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="capd-extract-", dir=given.directory) as folder:
        programs = (str(Path(sys.executable).with_name("capd")), "tcpdump", "tshark", "zstd")
        versions = {Path(one).name: version_of(one, "--version") for one in programs}
        about = report("tests.bench.extract", Path(folder), versions)
        print("\n".join(heading(about)))
        archive = make_raw(Path(folder) / "raw", given.gib * GIB, SEGMENT)
        scanned = part(archive, given.scan * GIB)
        compressed = make_compressed(Path(folder) / "compressed", scanned)
        about["notes"] = _sizes(archive, compressed)
        print("\n".join(about["notes"]), flush=True)
        warm([*scanned.segments, *compressed.segments])
        results: Results = {}
        print(line([title for title, _ in _COLUMNS], _COLUMNS))
        for job in _jobs(archive, scanned, compressed, Path(folder)):
            results[job.title] = _rounds(job, given.rounds)
            print("\n".join(_told(job, results[job.title])), flush=True)
            save(given.json, about, {title: _kept(made) for title, made in results.items()})


def _kept(made: dict[str, list[Outcome]]) -> dict[str, Any]:
    return {
        name: {what: rounds(getattr(one, what) for one in of) for what in ("seconds", "cpu")}
        for name, of in made.items()
    }


def _rounds(job: Job, rounds: int) -> dict[str, list[Outcome]]:
    made: dict[str, list[Outcome]] = {search.name: [] for search in job.searches}
    for _ in range(1 if job.once else rounds):
        for search in job.searches:
            if job.cold:
                drop(job.archive.segments)
            measure = first_packet if job.until_first else run
            made[search.name].append(measure(search))
    return made


def _jobs(archive: Archive, raw: Archive, compressed: Archive, folder: Path) -> Iterator[Job]:
    middle = (archive.first + archive.last) // 2
    window = middle, middle + WINDOW
    size = f"{archive.raw / GIB:.0f} GiB"
    for words, text in (("", ""), (" with a filter", PRESENT)):
        one = (capd_extract(archive, text, None, window),)
        yield Job(f"first packet of 10 s of {size}{words}", archive, one, until_first=True)
    absent = capd_extract(archive, ABSENT, 0)
    yield Job(f"an absent host in {size}", archive, (absent,))
    for name, text, count in (
        ("nothing matches", NOTHING, 0),
        ("everything matches", EVERYTHING, raw.packets),
    ):
        tcpdump = tcpdump_read(raw, text, folder)
        ours = capd_extract(raw, text, count)
        yield Job(f"raw, {name}, one core", raw, (ours.pinned, tcpdump.pinned))
        yield Job(f"raw, {name}, every core", raw, (ours, _tcpdumps(raw, text, folder)))
        ours = capd_extract(compressed, text, count)
        theirs = _zstdcat(compressed, text)
        bare = Search("zstd -dc", (("zstd", "-dcq", *map(str, compressed.segments)),))
        yield Job(
            f"compressed, {name}, one core",
            compressed,
            (ours.pinned, bare.pinned, theirs.pinned),
        )
        yield Job(f"compressed, {name}, every core", compressed, (ours, bare, theirs))
    first = part(raw, 1)
    ours = capd_extract(first, NOTHING, 0, (first.first, first.last + 1))
    yield Job("raw, nothing matches, one segment", first, (ours, _tshark(first)), once=True)
    bare = Search("cat", (("cat", *map(str, raw.segments)),))
    searches = capd_extract(raw, NOTHING, 0), bare, tcpdump_read(raw, NOTHING, folder)
    yield Job("raw, cold, nothing matches", raw, searches, cold=True)


def capd_extract(
    archive: Archive, text: str, count: int | None, window: tuple[int, int] | None = None
) -> Search:
    """capd extract over an archive: all of it, or a window of it (ns since 1970)."""
    since, until = window or (archive.first, archive.last + 1)
    times = ("--since", _at(since), "--until", _at(until))
    program = str(Path(sys.executable).with_name("capd"))
    words = (program, "extract", "--config", str(archive.config), *times, "--json")
    return Search("capd extract", ((*words, *([text] if text else [])),), packets=count)


def _at(stamp: int) -> str:
    return f"@{stamp // 10**9}.{stamp % 10**9:09}"


def tcpdump_read(archive: Archive, text: str, folder: Path) -> Search:
    """tcpdump -r over the same; `folder` is for a list of the files."""
    words = ("tcpdump", "-Z", "root", "-V", _listed(archive, folder), "-w", "-", text)
    return Search("tcpdump -r", (words,))


def _tcpdumps(archive: Archive, text: str, folder: Path) -> Search:
    several = ("xargs", "-a", _listed(archive, folder), "-P", str(os.cpu_count()), "-I{}")
    each = ("tcpdump", "-r", "{}", "-w", "/dev/null", text)
    return Search("tcpdump -r, one for each file", ((*several, *each),))


def _listed(archive: Archive, folder: Path) -> str:
    """A file with the segments' paths, a line each."""
    path = folder / "segments"
    path.write_text("".join(f"{each}\n" for each in archive.segments))
    return str(path)


def _zstdcat(archive: Archive, text: str) -> Search:
    decoder = ("zstdcat", "-q", *map(str, archive.segments))
    return Search("zstdcat | tcpdump -r -", (decoder, ("tcpdump", "-r", "-", "-w", "-", text)))


def _tshark(archive: Archive) -> Search:
    merger = ("mergecap", "-w", "-", *map(str, archive.segments))
    reader = ("tshark", "-r", "-", "-w", "-", "-Y", "ip.ttl == 3")
    return Search("mergecap -w - | tshark -Y", (merger, reader))


def _sizes(archive: Archive, compressed: Archive) -> list[str]:
    raw = f"{format_size(archive.stored)} in {len(archive.segments)} segments"
    smaller = f"{format_size(compressed.raw)} in {format_size(compressed.stored)}"
    ratio = compressed.raw / compressed.stored
    shares = [one.indexes / one.stored for one in (archive, compressed)]
    return [
        f"raw: {raw}, {archive.packets:,} packets; indexes {shares[0]:.2%} of that",
        f"compressed: {smaller} (ratio {ratio:.2f}); indexes {shares[1]:.2%} of that",
    ]


def _told(job: Job, made: dict[str, list[Outcome]]) -> list[str]:
    lines, (first, *_) = [job.title], made.values()
    for name, outcomes in made.items():
        seconds = [one.seconds for one in outcomes]
        middle = statistics.median(seconds)
        cells = [f"  {name}", f"{middle:.3f} ({min(seconds):.3f}-{max(seconds):.3f})"]
        if not job.until_first:
            gib = job.archive.raw / GIB
            spent = statistics.median(one.cpu for one in outcomes) / gib
            cells += [f"{gib / middle:.2f}", f"{spent:.3f}"]
            cells += [_ratio(outcomes, first, what) for what in ("seconds", "cpu")]
        lines.append(line(cells, _COLUMNS))
    return lines


def _ratio(theirs: Sequence[Outcome], ours: Sequence[Outcome], what: str) -> str:
    pairs = zip(theirs, ours, strict=True)
    return f"{statistics.median(getattr(a, what) / getattr(b, what) for a, b in pairs):.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests.bench.extract",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--gib", type=int, default=4, help="of raw segments; default: 4")
    add("--scan", type=int, default=2, help="of these, to be searched whole; default: 2")
    add("--rounds", type=int, default=3, help="default: 3")
    add("--directory", default="/var/tmp", help="below this; default: /var/tmp")
    add("--json", type=Path, metavar="FILE", help="all that was measured")
    return parser


if __name__ == "__main__":
    main()
