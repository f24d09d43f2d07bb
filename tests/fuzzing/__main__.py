"""The command line of the coverage-guided fuzzers.

    tests/fuzz [TARGET...] [--seconds N] [--jobs N]     all of them, or these
    tests/fuzz TARGET --replay FILE                     one input
    tests/fuzz [TARGET...] --keep                       and the corpus is what reaches all, at least

A finding makes the exit code 1, and its input is kept.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzzing import engine

_TAIL = 3000  # characters of what a finding's run said


def main() -> int:
    """Gives the exit code."""
    parser = argparse.ArgumentParser(prog="tests/fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(engine.TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--keep", action="store_true", help="take new inputs into the corpus")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    given = parser.parse_args()
    unknown = set(given.targets) - set(engine.TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    targets = given.targets or list(engine.TARGETS)
    if given.replay is not None:
        if len(given.targets) != 1:
            parser.error("--replay wants the one target whose input it is")
        with engine.program_of(targets[0]) as begin:
            return int(engine.replay(begin, given.replay.resolve()) != 0)
    with ThreadPoolExecutor(max(given.jobs, 1)) as pool:
        return max(pool.map(lambda target: _fuzz(target, given.seconds, given.keep), targets))


def _fuzz(target: str, seconds: int, keep: bool) -> int:
    folder = engine.RUNS / target
    with engine.program_of(target) as begin:
        result = engine.fuzz(target, begin, seconds, folder)
        print(result.line, flush=True)
        for path in result.findings:
            print(result.output[-_TAIL:])
            print(f"replay it: tests/fuzz {target} --replay {path}", flush=True)
        if keep and not result.findings:
            count = engine.minimise(target, begin, folder)
            print(f"{target:8} {count} files in its corpus", flush=True)
    return int(bool(result.findings))


if __name__ == "__main__":
    sys.exit(main())
