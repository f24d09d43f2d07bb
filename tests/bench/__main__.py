"""The benchmark: capd and its peers over the same traffic.

    tests/bench/run                                   the table of README.md, in about half an hour
    tests/bench/run --shapes 700 --rounds 1 --peers tcpdump
    tests/bench/run --peers netsniff-ng --also before=/tmp/old/.venv/bin/capd

Every recorder runs alone, in turns, several rounds, over the same frames, injected at full
speed or at a stated rate (tests/support/xdp.py) on core 0; it is free to use every core.
All have a buffer of the same size (daemonlogger has no option for it) and write to the same
file system.

Before each run the disk has written everything, and as much memory as the run needs has
just been used by the page cache (tests/bench/machine.py says why).

CPU is user and system time of the recorder and its children, all threads, from just before
the first frame until there is nothing left to do: the draining of the buffer is in it.  The
start and the stop are not, because they are the same for a thousand frames and for a month
of them; they have a column of their own.  Two costs are not in it for anyone: the kernel's
filling of the buffer, which the sender's CPU pays for, and writeback by kernel threads,
which only those need who write through the page cache.  Memory is what all processes have
to themselves: no ring, no libraries.  "apart" is capd's archive process, which indexes what
is closed; nobody else does that, and it is in the memory only (tests/bench/beside.py is about
it).

A packet counts as captured when capinfos finds it in a file.  The floor is
`dd oflag=direct` of the bytes that all frames make as pcapng.  "ratio" is CPU per captured
packet against the first recorder's, "of floor" against dd's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from capd.units import format_size, parse_size
from tests.bench import machine
from tests.bench.measure import INJECTOR_CPU, Load, Run, floor, run
from tests.bench.recorders import RECORDERS, Recorder, capd
from tests.bench.table import table
from tests.support.frames import Shape


def main() -> None:
    """Parses the command line, runs everything, prints the tables."""
    given = _parser().parse_args()
    if os.geteuid() != 0:
        sys.exit("tests/bench needs root: it makes network namespaces and injects frames")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is taken down
    recorders = _chosen(given)
    with tempfile.TemporaryDirectory(prefix="capd-bench-", dir=given.directory) as folder:
        directory = Path(folder)
        print("\n".join(_heading(given, recorders, directory)), flush=True)
        results = {}
        for shape in given.shapes:
            load = Load(shape, _frames(shape, given), given.ring, given.gigabits)
            runs, floors = _rounds(recorders, load, given.rounds, directory)
            results[shape.name] = {"runs": [asdict(one) for one in runs], "floor": floors}
            print(f"\n{shape.name}: {load.frames:,} frames, {load.wire_bytes / 1e9:.2f} GB")
            names = [recorder.name for recorder in recorders]
            print("\n".join(table(runs, names, floors)), flush=True)
            if given.json is not None:
                given.json.write_text(json.dumps(results, indent=1))


def _rounds(
    recorders: list[Recorder], load: Load, rounds: int, directory: Path
) -> tuple[list[Run], list[float]]:
    runs: list[Run] = []
    floors: list[float] = []
    for number in range(rounds):
        for recorder in recorders:
            if recorder.program is not None:
                runs.append(run(recorder, load, directory))
                _progress(number, runs[-1])
        floors.append(floor(load, directory))
    return runs, floors


def _progress(number: int, one: Run) -> None:
    text = (
        f"round {number + 1}, {one.shape}, {one.recorder}: lost {one.loss:.2f} %, "
        f"{one.nanoseconds:.0f} ns, {one.megapackets:.2f} Mpps"
    )
    print(text, file=sys.stderr, flush=True)


def _heading(given: argparse.Namespace, recorders: list[Recorder], directory: Path) -> list[str]:
    versions = ", ".join(f"{one.name} {one.version_number()}" for one in recorders)
    return [
        *machine.describe(directory),
        versions,
        f"{given.rounds} rounds: median (least-most); buffers of {format_size(given.ring)}",
        f"frames from core {INJECTOR_CPU}, recorders on any",
    ]


def _chosen(given: argparse.Namespace) -> list[Recorder]:
    """capd first, because the others are compared with it."""
    also = [capd(name, command) for name, _, command in given.also]
    known = {recorder.name: recorder for recorder in RECORDERS}
    return [RECORDERS[0], *also, *(known[name] for name in given.peers)]


def _frames(shape: Shape, given: argparse.Namespace) -> int:
    mean = sum(shape.lengths) / len(shape.lengths)
    return int(min(given.frames, given.bytes / mean))


def _peers(text: str) -> list[str]:
    names = text.split(",") if text else []
    known = [recorder.name for recorder in RECORDERS[1:]]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/bench/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    shapes = "60,700,imix,1500"
    add("--shapes", type=_shapes, default=_shapes(shapes), help=f"default: {shapes}")
    add("--rounds", type=int, default=5, help="default: 5")
    add("--frames", type=int, default=6_000_000, help="at most so many a run; default: 6000000")
    add("--bytes", type=parse_size, default=parse_size("3GB"), help="and so much; default: 3GB")
    add("--gigabits", type=float, help="a second at most; default: as fast as they go")
    add("--ring", type=parse_size, default=parse_size("256MiB"), help="default: 256MiB")
    peers = ",".join(recorder.name for recorder in RECORDERS[1:])
    add("--peers", type=_peers, default=_peers(peers), help=f'default: {peers}; "" for none')
    text = "another capd to compare with, may be given again"
    add("--also", type=lambda given: given.partition("="), action="append", default=[],
        metavar="NAME=COMMAND", help=text)  # fmt: skip
    add("--directory", default="/var/tmp", help="below this; default: /var/tmp")
    add("--json", type=Path, metavar="FILE", help="every run's numbers")
    return parser


def _shapes(text: str) -> list[Shape]:
    return [Shape.parse(name) for name in text.split(",")]


if __name__ == "__main__":
    main()
