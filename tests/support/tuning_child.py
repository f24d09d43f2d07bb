"""Runs `capd tune` again and again without loading it again, to be traced and killed meanwhile.

    python -m tests.support.tuning_child CONFIG

For each line, `apply` or `restore`: forks, says the child's pid, lets it wait for another line,
and says how it ended (as subprocess does).
"""

from __future__ import annotations

import os
import sys

from capd import cli, config
from capd.daemon import links
from capd.tuning import nic, record, targets, tuner

LOADED = (config, links, nic, record, targets, tuner)


def line() -> str:
    """The next one, and no byte of those behind it."""
    found = b""
    while not found.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit()
        found += byte
    return found.decode().strip()


def main() -> None:
    """Until its input ends."""
    while True:
        words = ["tune", line()]
        if words[1] == "apply":
            words += ["--config", sys.argv[1]]
        child = os.fork()
        if child == 0:
            line()
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            os._exit(cli.main(words))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
