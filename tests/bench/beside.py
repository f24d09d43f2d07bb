"""The benchmark of capture beside compression: capd with a backlog, and the recipe.

    .venv/bin/python -m tests.bench.beside [--rounds 5] [--shapes 700] [--backlog 3GiB]

As `tests/bench/run`, in turns, every second round backwards: capd with compression off; capd
with it on and a backlog of closed segments of traffic (tests/support/traffic.py), at which it
is before the first frame comes; tcpdump -C 200; the same with -z and a script of one line,
`zstd -q --rm` or `xz -T0 -9`.  All have buffers of the same size and write to the same file
system.  --patience waits, before each run, for others to leave the processors alone.

CPU per packet is that of the process that captures: of capd the daemon and the worker, of
tcpdump itself.  "ratio" is against the same recorder without compression.  What compresses,
capd's archive process or the script and what it calls, has columns of its own: CPU seconds and
gigabytes read while frames were injected, and how many segments waited at the end of that, as
capd's status tells or by the files that tcpdump has closed; and CPU seconds for each gigabyte
of all that it did.  The scripts are waited for; capd is stopped with its backlog unfinished.
The injected frames are alike but for a number: a gigabyte of them is less work for a script
than one of the backlog's is for capd.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capd.units import format_size, parse_size
from tests.bench import machine
from tests.bench.measure import INJECTOR_CPU, Load, Run, place, run
from tests.bench.pairs import Pair, pairs
from tests.bench.recorders import version_of
from tests.bench.report import heading, report, save
from tests.bench.table import line, speed, spread, summary
from tests.support.frames import Shape

_COLUMNS = (
    ("", 19),
    ("frames lost, %", 19),
    ("CPU ns per packet", 18),
    ("ratio", 6),
    ("injected", 18),
    ("compressed meanwhile", 33),
    ("CPU s per GB", 12),
)


def main() -> None:
    """Parses the command line, runs everything, prints the tables."""
    given = _parser().parse_args()
    if os.geteuid() != 0:
        sys.exit("tests.bench.beside needs root: it makes network namespaces and injects frames")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is taken down
    with tempfile.TemporaryDirectory(prefix="capd-bench-", dir=given.directory) as folder:
        directory = Path(folder)
        chosen = pairs(directory, given.backlog, recipe=given.recipe)
        about = _about(given, chosen, directory)
        print("\n".join(heading(about)), flush=True)
        results = {}
        for shape in given.shapes:
            mean = sum(shape.lengths) / len(shape.lengths)
            load = Load(shape, int(given.bytes / mean), given.ring, given.gigabits)
            runs = list(_rounds(chosen, load, given.rounds, given.patience, directory))
            results[shape.name] = {"runs": [asdict(one) for one in runs], "summary": summary(runs)}
            print(f"\n{shape.name}: {load.frames:,} frames, {load.wire_bytes / 1e9:.2f} GB")
            print("\n".join(_table(runs, chosen)), flush=True)
            save(given.json, about, results)


def _about(given: argparse.Namespace, chosen: list[Pair], directory: Path) -> dict[str, Any]:
    versions = {Path(one.command).name: one.version_number() for one, _ in chosen}
    if given.recipe:
        versions |= {name: version_of(name, "--version") for name in ("zstd", "xz")}
    return report("tests.bench.beside", directory, versions) | {
        "notes": [
            f"{given.rounds} rounds: median (least-most); buffers of {format_size(given.ring)}",
            f"frames from core {INJECTOR_CPU}, recorders on any",
        ]
    }


def _rounds(
    chosen: list[Pair], load: Load, rounds: int, patience: float, directory: Path
) -> Iterator[Run]:
    for number in range(rounds):
        # Both ways: what one run leaves behind, the disk has to discard during the next.
        for recorder, _ in chosen[:: -1 if number % 2 else 1]:
            machine.wait_until_idle(patience)
            one = run(recorder, load, place(directory))
            text = (
                f"round {number + 1}, {one.shape}, {one.recorder.strip()}: lost {one.loss:.2f} %, "
                f"{one.nanoseconds:.0f} ns, {one.megapackets:.2f} Mpps, {one.helpers}"
            )
            print(text, file=sys.stderr, flush=True)
            yield one


def _table(runs: Sequence[Run], chosen: list[Pair]) -> list[str]:
    by_name = {one.name: [run for run in runs if run.recorder == one.name] for one, _ in chosen}
    lines = [line([title for title, _ in _COLUMNS], _COLUMNS)]
    for recorder, other in chosen:
        own = by_name[recorder.name]
        ratio = _cost(own) / _cost(by_name[other])
        cells = [
            recorder.name,
            spread(own, lambda run: run.loss, ".2f"),
            spread(own, lambda run: run.nanoseconds, ".0f"),
            f"{ratio:.2f}",
            speed(own),
        ]
        helped = _helped(own) if recorder.name != other else []
        lines.append(line(cells + helped, _COLUMNS))
    return lines


def _helped(runs: Sequence[Run]) -> list[str]:
    """What those did that compress."""
    did = [run.helpers for run in runs]
    cpu = statistics.median(one.cpu for one in did)
    read = statistics.median(one.read for one in did) / 1e9
    waiting = statistics.median(one.waiting.segments for one in did)
    paused = sum(one.waiting.paused for one in did)
    text = f"{cpu:.2f} s, {read:.2f} GB, {waiting:.0f} waited"
    if paused:
        text += f", paused {paused}/{len(did)}"
    cost = statistics.median(one.whole_cpu / max(1, one.whole_read) * 1e9 for one in did)
    return [text, f"{cost:.2f}"]


def _cost(runs: Sequence[Run]) -> float:
    return statistics.median(run.nanoseconds for run in runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests.bench.beside",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--shapes", type=_shapes, default=_shapes("700"), help="700 (default), imix, ...")
    add("--rounds", type=int, default=5, help="default: 5")
    add("--bytes", type=parse_size, default=parse_size("3GB"), help="a run; default: 3GB")
    add("--gigabits", type=float, help="a second at most; default: as fast as they go")
    add("--recipe", action=argparse.BooleanOptionalAction, default=True, help="or capd alone")
    add("--backlog", type=parse_size, default=parse_size("3GiB"), help="for capd; default: 3GiB")
    add("--ring", type=parse_size, default=parse_size("256MiB"), help="default: 256MiB")
    add("--patience", type=float, default=0, help="seconds before each run; default: 0")
    add("--directory", default="/var/tmp", help="below this; default: /var/tmp")
    add("--json", type=Path, metavar="FILE", help="all that was measured")
    return parser


def _shapes(text: str) -> list[Shape]:
    return [Shape.parse(name) for name in text.split(",")]


if __name__ == "__main__":
    main()
