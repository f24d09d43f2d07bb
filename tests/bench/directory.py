"""A directory with a great many segments: what it costs the daemon and the archive process.

    .venv/bin/python -m tests.bench.directory [--segments N]

Prints the first look at all of them, each later one, a whole pass of the reaper that deletes
nothing, and the memory that remembering them takes; medians of several.  Then, of a real archive
process which compresses nothing: from its start to the end of its first scan, reading every index
once, what it takes when nothing is left to do, and the most memory it had.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from capd import index as indexes
from capd import pcapng
from capd.catalog import Catalog, everything
from capd.daemon.retention import Need, Policy, choose
from capd.names import SegmentName
from tests.bench.processes import usage
from tests.bench.report import report, save
from tests.support.archive import office, plan
from tests.support.sections import index_of
from tests.support.traffic import head, packet_block

START = 1_700_000_000 * 10**9
ROUNDS = 7
QUIET = 6.0  # s without reading: more than from one scan to the next
IDLE = 20.0  # s


def main() -> None:
    """Make them, look, and print."""
    given = _parser().parse_args()
    count = given.segments
    with tempfile.TemporaryDirectory(prefix="capd-bench-") as directory:
        fill(directory, count)
        print(f"{count:,} segments with an index each, of two interfaces, in folders of a day")
        found = looks(directory, count)
        found |= archive(directory, count)
        about = report("tests.bench.directory", Path(directory), {})
        save(given.json, about, found | {"segments": count})


def looks(directory: str, count: int) -> dict[str, float]:
    """What the daemon does."""
    before = resident()
    catalog = Catalog(directory)
    first = timed(catalog.scan)
    taken = resident() - before
    again = statistics.median(timed(catalog.scan) for _ in range(ROUNDS))
    passes = statistics.median(timed(lambda: one_pass(catalog)) for _ in range(ROUNDS))
    found = sum(1 for one in everything(catalog.scan()) if one.indexed)
    if found != count:
        sys.exit(f"{found:,} segments with an index were found, not {count:,}")
    print(f"first look             {first * 1e3:8.0f} ms")
    print(f"every later look       {again * 1e3:8.1f} ms")
    print(f"pass of the reaper     {passes * 1e3:8.1f} ms")
    print(f"memory                 {taken / 2**20:8.1f} MiB")
    return {
        "first look, s": first,
        "every later look, s": again,
        "pass of the reaper, s": passes,
        "memory, bytes": taken,
    }


def archive(directory: str, count: int) -> dict[str, float]:
    """What the archive process does."""
    began = time.monotonic()
    with office(plan(Path(directory), compress=False)) as one:
        one.wait_report(timeout=120)
        scanned, before = time.monotonic(), spent(one.pid)
        last = read_all(one.pid)
        took = spent(one.pid) - before
        idle = idle_share(one.pid)
        report = one.wait_report()
        if one.events or report.indexed or report.backlog:
            sys.exit(f"an index was not as it should be: {one.events} {report}")
        most = int(re.findall(r"VmHWM:\s+(\d+) kB", status_of(one.pid))[0]) * 1024
        classes = {os.sched_getscheduler(int(each)) for each in threads_of(one.pid)}
    priority = "in the idle class" if classes == {os.SCHED_IDLE} else f"in classes {classes}"
    print(f"archive process, all threads {priority}")
    print(f"start and first scan   {(scanned - began) * 1e3:8.0f} ms")
    print(f"reading all indexes    {(last - scanned) * 1e3:8.0f} ms")
    print(f"                       {took / count * 1e6:8.0f} us of a processor for each")
    print(f"nothing left to do     {idle * 100:8.2f} % of a processor")
    print(f"memory                 {most / 2**20:8.1f} MiB at most")
    return {
        "start and first scan, s": scanned - began,
        "reading all indexes, s": last - scanned,
        "CPU for each index, s": took / count,
        "nothing left to do, share of a processor": idle,
        "memory of the archive process at most, bytes": most,
    }


def read_all(pid: int) -> float:
    """When (monotonic) a process has read the last of what it reads."""
    so_far, last = -1, time.monotonic()
    while time.monotonic() - last < QUIET:
        found = re.findall(r"rchar: (\d+)", Path(f"/proc/{pid}/io").read_text())
        if int(found[0]) != so_far:
            so_far, last = int(found[0]), time.monotonic()
        time.sleep(0.02)
    return last


def idle_share(pid: int) -> float:
    """How much of a processor it takes now."""
    began, before = time.monotonic(), spent(pid)
    time.sleep(IDLE)
    return (spent(pid) - before) / (time.monotonic() - began)


def spent(pid: int) -> float:
    """Seconds of CPU so far."""
    return usage([pid], lambda _: False).cpu


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def threads_of(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/task")


def fill(directory: str, count: int) -> None:
    """The same segment of one packet and its index under many names, ten seconds apart."""
    closing = pcapng.statistics(START, START, START, 1, 0, 1)
    content = head() + packet_block(START, bytes(60)) + closing
    index = indexes.encode(index_of(content, len(content)))
    for ring in ("eth0", "eth1"):
        for seq in range(1, count // 2 + 1):
            name = SegmentName(ring, START + seq * 10**10, seq)
            folder = f"{directory}/{ring}/{name.folder}"
            os.makedirs(folder, exist_ok=True)
            for file, data in ((name.file, content), (name.index_file, index)):
                Path(f"{folder}/{file}").write_bytes(data)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured")
    return parser


if __name__ == "__main__":
    main()
