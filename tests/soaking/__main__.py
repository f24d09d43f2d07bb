"""The command line of a soak."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path

from tests.soaking.course import run


def main() -> int:
    """Run one; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="tests/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--json", type=Path, metavar="FILE", help="the summary, for programs")
    given = parser.parse_args()
    # What was mounted goes, whoever ends this; and no `&` of a shell keeps SIGINT from extractions.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    summary = run(given.minutes, given.seed)
    print("\n".join(summary.lines()))
    if given.json:
        given.json.write_text(summary.json())
    return 1 if summary.problems else 0


if __name__ == "__main__":
    sys.exit(main())
