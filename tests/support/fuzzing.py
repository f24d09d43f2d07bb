"""The command line of a fuzzer: numbered rounds until the time is over.

    python -m tests.fuzz_... --seed 1 --seconds 20
    python -m tests.fuzz_... --seed 1 --round 12345     the one round that went wrong

The rounds of a seed are the same everywhere.  A crash leaves no message: the number of the
round in progress is in the file that --trace names.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path


def main(check: Callable[[int, int], None]) -> None:
    """Parses the command line and runs `check(seed, round)`, which raises when it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--round", type=int, help="only this one")
    parser.add_argument("--trace", type=Path, help="file for the number of the round in progress")
    given = parser.parse_args()
    if given.round is not None:
        check(given.seed, given.round)
        return
    deadline = time.monotonic() + given.seconds
    for number in itertools.count():
        if time.monotonic() > deadline:
            print(f"seed {given.seed}: {number} rounds")
            return
        if given.trace is not None:
            given.trace.write_text(f"seed {given.seed}, round {number}")
        check(given.seed, number)
