"""The full table: every benchmark that there is, one after the other, into one file.

    tests/bench/run --all [--json FILE]                    everything, in two to three hours
    tests/bench/run --all --parts capture,restart
    tests/bench/run --all --quick                          with little, to see that all of it runs

Each part is a command of its own, which can be run alone with other options: `--list` prints them
and `--help` after one of them says what it measures and how.  One that fails is named at the end,
the others go on.  The file has of each part its command, its lines, and all that it measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.conditions import CONDITIONS


class Part(NamedTuple):
    """A benchmark: what it is about, its module, and its words for the full table and for a try."""

    text: str
    module: str
    full: str
    quick: str


_LITTLE = "--rounds 1 --shapes 700 --frames 200000"
_OTHERS = ",".join(name for name in CONDITIONS if name != "alone")

PARTS = {
    "capture": Part("capture alone", "tests.bench", "--rounds 3", _LITTLE),
    "conditions": Part(
        "capture with rotation, on two interfaces, beside a search, on a slow disk",
        "tests.bench",
        f"--rounds 3 --shapes 700,imix --with {_OTHERS}",
        f"{_LITTLE} --with {_OTHERS}",
    ),
    "compression": Part(
        "capture beside compression",
        "tests.bench.beside",
        "--rounds 4 --shapes 700,imix --bytes 2GB",
        "--rounds 1 --bytes 200MB --backlog 512MiB",
    ),
    "restart": Part(
        "start-up and restart of all recorders", "tests.bench.restart", "--times 10", "--times 2"
    ),
    "service": Part(
        "capd as a service: its pauses, its memory", "tests.bench.service", "", "--times 2"
    ),
    "compress": Part(
        "compression alone",
        "tests.bench.compress",
        "",
        "--size 64MiB --rounds 1",
    ),
    "extract": Part(
        "getting packets back",
        "tests.bench.extract",
        "--gib 20 --scan 4",
        "--gib 1 --scan 1 --rounds 1",
    ),
    "directory": Part("a great many segments", "tests.bench.directory", "", "--segments 2000"),
    "monitor": Part("watching the interfaces", "tests.bench.monitor", "", "--seconds 3"),
}


def main() -> None:
    """Parses the command line, runs the parts, says which have failed."""
    given = _parser().parse_args()
    if given.list:
        for name, part in PARTS.items():
            print(f"{name:12} {part.text}\n{'':12}   {' '.join(_line(part, quick=False)[1:])}")
        return
    if os.geteuid() != 0:
        sys.exit("tests/bench needs root: it makes network namespaces and injects frames")
    told: dict[str, Any] = {}
    for name in given.parts:
        print(f"\n== {name}: {PARTS[name].text}", flush=True)
        told[name] = measured(_line(PARTS[name], quick=given.quick))
        if given.json is not None:
            given.json.write_text(json.dumps({"parts": told}, indent=1) + "\n")
    failed = [name for name, one in told.items() if one["status"]]
    if failed:
        sys.exit(f"\nfailed: {', '.join(failed)}")


def measured(line: list[str]) -> dict[str, Any]:
    """A part's lines, as it prints them, and the file that it writes."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        words = [*line, "--json", str(file)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            lines = []
            for text in program.stdout:
                print(text, end="", flush=True)
                lines.append(text.rstrip("\n"))
        found = json.loads(file.read_text()) if file.exists() else None
    return {
        "status": program.returncode,
        "seconds": time.monotonic() - began,
        "lines": lines,
        "measured": found,
    }


def _line(part: Part, *, quick: bool) -> list[str]:
    return [sys.executable, "-m", part.module, *(part.quick if quick else part.full).split()]


def _parts(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(PARTS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/bench/run --all",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--parts", type=_parts, default=list(PARTS), help=f"of {', '.join(PARTS)}; default: all")
    add("--quick", action="store_true", help="with little: what comes out says nothing")
    add("--list", action="store_true", help="print the parts and their commands, and end")
    add("--json", type=Path, metavar="FILE", help="all that was measured")
    return parser


if __name__ == "__main__":
    main()
