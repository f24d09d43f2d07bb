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
from typing import Any

from capd.ring import geometry, open_ring
from capd.units import parse_size
from tests.bench import machine as host
from tests.bench.processes import mapped
from tests.bench.report import report, rounds, save
from tests.support.load import steady
from tests.support.machine import CAPTURES, Machine
from tests.support.net import inside
from tests.support.recorder import workers_of
from tests.support.roots import WITH_CAPD, System
from tests.support.wait import wait_for
from tests.support.workers import EVERYTHING

RING = "256MiB"
CONFIG = f"""
[storage]
directory = "{CAPTURES}"
[capture]
ring_size = "{RING}"
flush_interval = "10ms"
[[interface]]
name = "v0"
"""
IDLE = 30.0  # seconds
WARM = 256 << 20  # bytes of memory, each time: see there
APART = 0.5  # seconds between two deaths; after several young ones the next worker waits


def main() -> None:
    """Parses the command line, measures, prints."""
    given = _parser().parse_args()
    if os.geteuid() != 0:
        sys.exit("tests.bench.service needs root")
    with Machine(given.system) as machine:
        systemd = machine.run("systemctl", "--version").stdout.splitlines()[0]
        about = report("tests.bench.service", machine.captures, {"systemd": systemd.split()[1]})
        print("\n".join([*about["machine"], systemd]))
        index = machine.add_veth("v0", "v1")
        machine.write_config(CONFIG)
        found: dict[str, Any] = {"READY from a cold start, ms": _starts(machine, given.times)}
        machine.systemctl("start", "capd")
        found |= _idle(machine)
        for what, act in _ORDERS.items():
            found[f"pause of {what}, ms"] = _pauses(machine, index, what, given.times, act)
            save(given.json, about, found)
        machine.systemctl("stop", "capd")


def _starts(machine: Machine, times: int) -> dict[str, Any]:
    found = []
    for _ in range(times):
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        _warm_ring(machine)
        machine.systemctl("start", "capd")
        begun, ready = (
            int(machine.property(f"{name}TimestampMonotonic"))
            for name in ("InactiveExit", "ActiveEnter")
        )
        found.append((ready - begun) // 1000)
        machine.systemctl("stop", "capd")
    print(f"READY from a cold start: {_spread(found)}")
    return rounds(found)


def _warm_ring(machine: Machine) -> None:
    """Large blocks of memory that a host has taken back cost a second; that is not capd's."""
    with inside(machine.name):
        open_ring("v0", geometry(parse_size(RING), 10**7), EVERYTHING, promiscuous=False).close()


def _idle(machine: Machine) -> dict[str, Any]:
    processes = {"daemon": _daemon(machine), "worker": _worker(machine)}
    found = {}
    time.sleep(2)
    before = {name: _ticks(pid) for name, pid in processes.items()}
    time.sleep(IDLE)
    for name, pid in processes.items():
        share = (_ticks(pid) - before[name]) / os.sysconf("SC_CLK_TCK") / IDLE
        sizes = mapped(pid)
        found[name] = {"idle, share of a core": share, "memory, bytes": sizes}
        resident, own = sizes["Rss:"] / 1e6, sizes["Anonymous:"] / 1e6
        memory = f"{resident:.1f} MB resident, {own:.1f} MB of its own"
        print(f"{name}: {share * 100:.2f} % of a core when idle, {memory}")
    return found


def _pauses(
    machine: Machine, index: int, what: str, times: int, act: Callable[[Machine], None]
) -> dict[str, Any]:
    with steady(machine.name, index):
        time.sleep(1)
        before = len(_told(machine))
        for number in range(1, times + 1):
            time.sleep(APART)
            host.warm_page_cache(machine.captures, WARM)
            act(machine)
            time.sleep(1)  # nobody asks while it comes back: two cores are all there is
            wait_for(lambda: len(_told(machine)) >= before + number, 20, "a pause")  # noqa: B023
    pauses = _told(machine)[before:]
    print(f"pause of a {what}: {_spread(pauses)}")
    return rounds(pauses)


def _spread(found: list[int]) -> str:
    return f"{statistics.median(found):.0f} ms ({min(found)}-{max(found)})"


def _restart(machine: Machine) -> None:
    machine.systemctl("restart", "capd")


def _kill_daemon(machine: Machine) -> None:
    os.kill(_daemon(machine), signal.SIGKILL)


def _kill_worker(machine: Machine) -> None:
    os.kill(_worker(machine), signal.SIGKILL)


_ORDERS = {
    "systemctl restart": _restart,
    "kill -9 of the daemon": _kill_daemon,
    "kill -9 of the worker": _kill_worker,
}


def _told(machine: Machine) -> list[int]:
    return [int(one["CAPD_PAUSE_MS"]) for one in machine.journal() if "CAPD_PAUSE_MS" in one]


def _daemon(machine: Machine) -> int:
    return machine.pid_here(int(machine.property("MainPID")))


def _worker(machine: Machine) -> int:
    (worker,) = wait_for(lambda: workers_of(_daemon(machine)), 10, "a worker")
    return worker


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.bench.service", description=__doc__)
    parser.add_argument("--system", type=System, choices=WITH_CAPD, default=System.HOST)
    parser.add_argument("--times", type=int, default=20, help="of each restart (20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured")
    return parser


if __name__ == "__main__":
    main()
