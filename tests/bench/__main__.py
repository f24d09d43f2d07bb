"""The benchmark: capd and its peers over the same traffic.

    tests/bench/run                                   the table of README.md, in about half an hour
    tests/bench/run --with rotation,two,slow          the same under other conditions
    tests/bench/run --shapes 700 --rounds 1 --peers tcpdump
    tests/bench/run --peers netsniff-ng --also before=/tmp/old/.venv/bin/capd
    tests/bench/run --json FILE; tests/bench/run --show FILE
    tests/bench/run --all                             everything that there is (--all --help)

Every recorder runs alone, in turns, several rounds, over the same frames, injected at full
speed or at a stated rate (tests/support/xdp.py) on core 0; it is free to use every core.
All have a buffer of the same size for each interface (daemonlogger has no option for it) and
write to the same file system.  Who takes one interface only is started once for each.

Before each run the disk has written everything, and as much memory as the run needs has
just been used by the page cache (tests/bench/machine.py says why).

CPU is user and system time of the recorder and its children, all threads, from just before
the first frame until there is nothing left to do: the draining of the buffer is in it.  The
start and the stop are not, because they are the same for a thousand frames and for a month
of them; they have a column of their own.  Two costs are not in it for anyone: the kernel's
filling of the buffer, which the sender's CPU pays for, and writeback by kernel threads,
which only those need who write through the page cache; "not on disk" is what these had left
there when the last frame came.  Memory is the PSS of all processes at that moment, without
rings.  "apart" is capd's archive process, which indexes what is closed; nobody else does that,
and it is in the memory only (tests/bench/beside.py is about it).  "beside" counts the searches
of the condition extraction.

A packet counts as captured when capinfos finds it in a file, or, of stenotype, which writes
the kernel's blocks as they are, when their headers count it.  The floor is
`dd oflag=direct` of the bytes that all frames make as pcapng.  "ratio" is CPU per captured
packet against the first recorder's, "of floor" against dd's.  Who does not run says why.
On the slow disk, who writes through the page cache has the memory of the machine to put off
to what the disk does not take; capd and stenotype have their ring.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capd.units import format_size, parse_size
from tests.bench.conditions import CONDITIONS, Condition
from tests.bench.measure import INJECTOR_CPU, Load, Place, Run, floor, run
from tests.bench.recorders import RECORDERS, Recorder, capd, peers_of
from tests.bench.report import heading, report, save
from tests.bench.table import summary, table
from tests.support.frames import Shape


def main() -> None:
    """Parses the command line, runs everything, prints the tables."""
    given = _parser().parse_args()
    if given.show is not None:
        _show(json.loads(given.show.read_text()))
        return
    if os.geteuid() != 0:
        sys.exit("tests/bench needs root: it makes network namespaces and injects frames")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is taken down
    recorders = _chosen(given)
    with tempfile.TemporaryDirectory(prefix="capd-bench-", dir=given.directory) as folder:
        directory = Path(folder)
        versions = {one.name: one.version_number() for one in recorders}
        about = report("tests.bench", directory, versions)
        about["notes"] = [
            f"{given.rounds} rounds: median (least-most); buffers of {format_size(given.ring)}",
            f"frames from core {INJECTOR_CPU}, recorders on any",
        ]
        _show(about)
        results: list[dict[str, Any]] = []
        for condition in given.conditions:
            for shape in given.shapes:
                load = Load(shape, _frames(shape, given), given.ring, given.gigabits)
                results.append(_entry(condition, load, given, directory))
                print("\n".join(["", *table(results[-1])]), flush=True)
                save(given.json, about, results)


def _show(told: dict[str, Any]) -> None:
    """What such a file says."""
    print("\n".join(heading(told)), flush=True)
    for entry in told.get("results", []):
        print("\n".join(["", *table(entry)]))


def _entry(
    condition: Condition, load: Load, given: argparse.Namespace, directory: Path
) -> dict[str, Any]:
    """One shape under one condition, all rounds of it."""
    load = condition.load(load)
    recorders = {one.name: one for one in _chosen(given)}
    state = {name: "" if one.program else one.version_number() for name, one in recorders.items()}
    runs: list[Run] = []
    floors: list[float] = []
    with condition.place(directory, load, given.disk) as where:
        for number in range(given.rounds):
            for one in recorders.values():
                if one.program:
                    made = list(_tried(one, load, where, state))
                    _progress(number, condition, made)
                    runs += made
            floors.append(floor(load, directory))
    return {
        "condition": condition.name,
        "text": condition.text,
        "shape": load.shape.name,
        "frames": load.frames,
        "bytes": load.wire_bytes,
        "rounds": given.rounds,
        "recorders": state,
        "runs": [asdict(one) for one in runs],
        "floors": floors,
        "summary": summary(runs, floors),
    }


def _tried(recorder: Recorder, load: Load, where: Place, state: dict[str, str]) -> Iterator[Run]:
    """The run; if it comes to nothing the table is to say why, and the others go on."""
    try:
        yield run(recorder, load, where)
    except OSError as error:
        state[recorder.name] = str(error)
        print(f"{recorder.name}: {error}", file=sys.stderr, flush=True)


def _progress(number: int, condition: Condition, runs: list[Run]) -> None:
    for one in runs:
        text = (
            f"round {number + 1}, {one.shape}, {condition.name}, {one.recorder}: "
            f"lost {one.loss:.2f} %, {one.nanoseconds:.0f} ns, {one.megapackets:.2f} Mpps"
        )
        print(text, file=sys.stderr, flush=True)


def _chosen(given: argparse.Namespace) -> list[Recorder]:
    """capd first, because the others are compared with it."""
    also = [capd(name, command) for name, _, command in given.also]
    known = {recorder.name: recorder for recorder in RECORDERS}
    return [RECORDERS[0], *also, *(known[name] for name in given.peers)]


def _frames(shape: Shape, given: argparse.Namespace) -> int:
    mean = sum(shape.lengths) / len(shape.lengths)
    return int(min(given.frames, given.bytes / mean))


def _conditions(text: str) -> list[Condition]:
    names = text.split(",")
    for name in names:
        if name not in CONDITIONS:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(CONDITIONS)}")
    return [CONDITIONS[name] for name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/bench/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    shapes = "60,300,700,1500,imix"
    add("--shapes", type=_shapes, default=_shapes(shapes), help=f"default: {shapes}")
    add("--rounds", type=int, default=5, help="default: 5")
    add("--frames", type=int, default=6_000_000, help="at most so many a run; default: 6000000")
    add("--bytes", type=parse_size, default=parse_size("3GB"), help="and so much; default: 3GB")
    add("--gigabits", type=float, help="a second at most; default: as fast as they go")
    add("--ring", type=parse_size, default=parse_size("256MiB"), help="default: 256MiB")
    peers = ",".join(recorder.name for recorder in RECORDERS[1:])
    add("--peers", type=peers_of, default=peers_of(peers), help=f'default: {peers}; "" for none')
    text = "another capd to compare with, may be given again"
    add("--also", type=lambda given: given.partition("="), action="append", default=[],
        metavar="NAME=COMMAND", help=text)  # fmt: skip
    add("--with", type=_conditions, default=_conditions("alone"), dest="conditions",
        metavar="CONDITIONS", help=f"of {', '.join(CONDITIONS)}; default: alone")  # fmt: skip
    text = "bytes a second, of the condition slow; default: 400MB"
    add("--disk", type=parse_size, default=parse_size("400MB"), help=text)
    add("--show", type=Path, metavar="FILE", help="print the tables of such a file, and end")
    add("--directory", default="/var/tmp", help="below this; default: /var/tmp")
    add("--json", type=Path, metavar="FILE", help="all that was measured")
    return parser


def _shapes(text: str) -> list[Shape]:
    return [Shape.parse(name) for name in text.split(",")]


if __name__ == "__main__":
    main()
