"""The command line of the model: examples, until there are so many or for so long."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.modelling.machine import Directory
from tests.modelling.sequences import SEQUENCES, play
from tests.support.disk import mounted

DISK = 48 * 2**20  # bytes
STEPS = 25  # of an example, at most
AT_ONCE = 10  # examples, before the time is looked at


def main() -> int:
    """Run them; what fails is shortened, which may take five minutes, and printed."""
    parser = argparse.ArgumentParser(prog="tests/model", description=__doc__)
    parser.add_argument("--examples", type=int, metavar="N")
    parser.add_argument("--seconds", type=float, metavar="N", default=60, help="default: 60")
    parser.add_argument("--seed", type=int, metavar="S", default=random.randrange(2**32))
    parser.add_argument("--as-found", action="store_true", help="do not shorten what fails")
    parser.add_argument("--sequences", choices=SEQUENCES, nargs="+", help="only these known ones")
    given = parser.parse_args()
    logging.getLogger("capd").setLevel(logging.CRITICAL)  # the reaper tells of all that it deletes
    # In memory: what a disk forgets is the model's business.
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        mounted("ext4", Path(folder), DISK) as disk,
        Directory.clock.read_by_all(),
    ):
        Directory.place = disk.path
        for name in given.sequences or ():
            play(name)
        if not given.sequences:
            print(f"seed {given.seed}", flush=True)
            _run_all(given)
    return 0


def _run_all(given: argparse.Namespace) -> None:
    done, began = 0, time.monotonic()
    while done < given.examples if given.examples else time.monotonic() - began < given.seconds:
        count = min(AT_ONCE, (given.examples or AT_ONCE + done) - done)
        _run(given.seed + done, count, as_found=given.as_found)
        done += count
    print(", ".join(f"{count} {what}" for what, count in sorted(Directory.happened.items())))
    print(f"{done} examples in {time.monotonic() - began:.0f} s")


def _run(number: int, examples: int, *, as_found: bool) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate] if as_found else [Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Directory), settings=chosen)


if __name__ == "__main__":
    sys.exit(main())
