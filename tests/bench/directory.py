"""A directory with a great many segments: what looking at it costs the daemon.

    .venv/bin/python -m tests.bench.directory [--segments N]

Prints the first look at all of them, each later one, a whole pass of the reaper that deletes
nothing, and the memory that remembering them takes; medians of several.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from capd.catalog import Catalog, everything
from capd.daemon.retention import Need, Policy, choose
from capd.names import SegmentName

START = 1_700_000_000 * 10**9
ROUNDS = 7


def main() -> None:
    """Make them, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--segments", type=int, default=100_000)
    count = parser.parse_args().segments
    with tempfile.TemporaryDirectory(prefix="capd-bench-") as directory:
        fill(directory, count)
        before = resident()
        catalog = Catalog(directory)
        first = timed(catalog.scan)
        taken = resident() - before
        again = statistics.median(timed(catalog.scan) for _ in range(ROUNDS))
        passes = statistics.median(timed(lambda: one_pass(catalog)) for _ in range(ROUNDS))
        found = sum(1 for _ in everything(catalog.scan()))
    print(f"{found:,} segments with an index each, of two interfaces, in folders of a day")
    print(f"first look          {first * 1e3:8.0f} ms")
    print(f"every later look    {again * 1e3:8.1f} ms")
    print(f"pass of the reaper  {passes * 1e3:8.1f} ms")
    print(f"memory              {taken / 2**20:8.1f} MiB")


def fill(directory: str, count: int) -> None:
    """Empty files under the names of segments and of their indexes, ten seconds apart."""
    for ring in ("eth0", "eth1"):
        for seq in range(1, count // 2 + 1):
            name = SegmentName(ring, START + seq * 10**10, seq)
            folder = f"{directory}/{ring}/{name.folder}"
            os.makedirs(folder, exist_ok=True)
            for file in (name.file, name.index_file):
                os.close(os.open(f"{folder}/{file}", os.O_CREAT | os.O_WRONLY))


def one_pass(catalog: Catalog) -> None:
    """What the reaper does when nothing has to go."""
    policy = Policy(max_size=2**60, max_files=10**9, max_age=2**62)
    choose(catalog.scan(), Need(-1, "max_usage"), policy, time.time_ns())


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    main()
