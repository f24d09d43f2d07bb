"""What the service costs and how long it pauses, on a real systemd in a container.

    packaging/setup --test && .venv/bin/python -m tests.bench.service

The packages' unit records one interface there.  READY is from systemd's start of the unit to
READY=1, cold after the page cache was dropped.  Memory is what a process has resident, and to
itself alone.  A pause is what capd says in the journal: from the last block that a worker
finished to the first that its successor took, under 20,000 frames a second.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import machine as host
from tests.support.load import steady
from tests.support.machine import CAPTURES, Machine
from tests.support.roots import System
from tests.support.wait import wait_for

CONFIG = f"""
[storage]
directory = "{CAPTURES}"
[capture]
ring_size = "256MiB"
flush_interval = "10ms"
[[interface]]
name = "v0"
"""
IDLE = 30.0  # seconds


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(prog="tests.bench.service", description=__doc__)
    parser.add_argument("--system", type=System, choices=list(System), default=System.HOST)
    parser.add_argument("--times", type=int, default=20, help="of each restart (20)")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("tests.bench.service needs root")
    with Machine(given.system) as machine:
        print("\n".join(host.describe(machine.captures)))
        print(machine.run("systemctl", "--version").stdout.splitlines()[0])
        index = machine.add_veth("v0", "v1")
        machine.write_config(CONFIG)
        _start(machine)
        _idle(machine)
        _pauses(machine, index, "systemctl restart", given.times, _restart)
        _pauses(machine, index, "kill -9 of the daemon", given.times, _kill_daemon)
        _pauses(machine, index, "kill -9 of the worker", given.times, _kill_worker)
        machine.systemctl("stop", "capd")


def _start(machine: Machine) -> None:
    found = []
    for cold in (True, False):
        if cold:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
        machine.systemctl("start", "capd")
        begun, ready = (
            int(machine.property(f"{name}TimestampMonotonic"))
            for name in ("InactiveExit", "ActiveEnter")
        )
        found.append(f"{'cold' if cold else 'warm'} {(ready - begun) / 1000:.0f} ms")
        if cold:
            machine.systemctl("stop", "capd")
    print(f"READY: {', '.join(found)}")


def _idle(machine: Machine) -> None:
    processes = {"daemon": _daemon(machine), "worker": _worker(machine)}
    time.sleep(2)
    before = {name: _ticks(pid) for name, pid in processes.items()}
    time.sleep(IDLE)
    for name, pid in processes.items():
        share = (_ticks(pid) - before[name]) / os.sysconf("SC_CLK_TCK") / IDLE
        resident, own = _memory(pid)
        print(
            f"{name}: {share * 100:.2f} % of a core when idle, {resident / 1e6:.1f} MB resident, "
            f"{own / 1e6:.1f} MB of its own"
        )


def _pauses(
    machine: Machine, index: int, what: str, times: int, act: Callable[[Machine], None]
) -> None:
    with steady(machine.name, index):
        time.sleep(1)
        before = len(_told(machine))
        for number in range(1, times + 1):
            act(machine)
            wait_for(lambda: len(_told(machine)) >= before + number, 20, "a pause")  # noqa: B023
    pauses = _told(machine)[before:]
    print(f"pause of a {what}: {statistics.median(pauses)} ms ({min(pauses)}-{max(pauses)})")


def _restart(machine: Machine) -> None:
    machine.systemctl("restart", "capd")


def _kill_daemon(machine: Machine) -> None:
    os.kill(_daemon(machine), signal.SIGKILL)


def _kill_worker(machine: Machine) -> None:
    os.kill(_worker(machine), signal.SIGKILL)


def _told(machine: Machine) -> list[int]:
    return [int(one["CAPD_PAUSE_MS"]) for one in machine.journal() if "CAPD_PAUSE_MS" in one]


def _daemon(machine: Machine) -> int:
    return machine.pid_here(int(machine.property("MainPID")))


def _worker(machine: Machine) -> int:
    daemon = _daemon(machine)
    children = Path(f"/proc/{daemon}/task/{daemon}/children")
    (worker,) = wait_for(lambda: children.read_text().split(), 10, "a worker")
    return int(worker)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _memory(pid: int) -> tuple[int, int]:
    """Bytes that are resident but for the ring, and what is in no other process."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, size = line.partition(":")
        sizes[name] = int(size.split()[0]) * 1024
    return sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


if __name__ == "__main__":
    main()
