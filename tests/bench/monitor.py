"""What the drop monitor costs: the daemon's CPU time on interfaces without traffic.

    packaging/setup --test && .venv/bin/python -m tests.bench.monitor

Of a daemon that watches 4 interfaces at an interval of 1 s: all that it uses while nothing comes;
and what its monitor takes while some packets come, which is what `Monitor.tick` takes ten times a
second in a process of its own with the same interfaces and workers, the waking up included.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

from capd.daemon.life import Phase
from capd.daemon.monitor import BUSY, Monitor
from capd.daemon.recording import Recording
from capd.messages import Counters
from tests.bench.report import report, save
from tests.support.frames import Shape, Stream
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, workers_of
from tests.support.xdp import FrameSource

INTERFACES = 4
RATE = 100.0  # packets a second and interface
STREAM = Stream(Shape.fixed(700))
COUNTERS = Counters()


@dataclass
class _Watched:
    """What the monitor asks of a recording."""

    name: str
    worker: int
    wanted: Any
    phase: Phase = Phase.RUNNING
    counters: Counters = COUNTERS

    def miss(self, packets: int) -> None:
        """There is no worker to be told."""


def main() -> None:
    """Parses the command line, measures, prints."""
    given = _parser().parse_args()
    if given.alone:
        seconds, *numbers = given.alone
        print(_monitor(seconds, [int(number) for number in numbers]))
        return
    if os.geteuid() != 0:
        sys.exit("tests.bench.monitor needs root")
    need("ip")
    names = [f"v{number}" for number in range(INTERFACES)]
    with tempfile.TemporaryDirectory() as folder, Namespace() as net:
        about = report("tests.bench.monitor", Path(folder), {})
        print("\n".join(about["machine"]))
        indexes = [net.add_veth(name, f"p{name}") for name in names]
        tables = "".join(f'[[interface]]\nname = "{name}"\n' for name in names)
        config = Path(folder) / "capd.toml"
        config.write_text(f'[storage]\ndirectory = "{folder}/c"\n{tables}')
        with Recorder(net, config) as capd:
            capd.wait_capturing(*names)
            time.sleep(5)  # for what a start costs
            before = _cpu(capd.pid)
            time.sleep(given.seconds)
            idle = (_cpu(capd.pid) - before) / given.seconds
            print(f"daemon, {INTERFACES} interfaces  {idle:8.3%} of a core")
            workers = workers_of(capd.pid)[:INTERFACES]
            numbers = [*map(str, [given.seconds, *indexes, *workers])]
            line = [sys.executable, "-m", "tests.bench.monitor", "--alone", *numbers]
            with traffic(net.name, indexes, given.seconds + 5):
                busy = float(net.run(line).stdout)
            print(f"its monitor, busy     {busy:8.3%}")
            shares = {"daemon, share of a core": idle, "its monitor, busy": busy}
            save(given.json, about, shares)


@contextmanager
def traffic(namespace: str, indexes: list[int], seconds: float) -> Iterator[None]:
    """Some packets on every interface meanwhile, so that no worker sleeps for long."""
    with ExitStack() as sources:
        threads = []
        for index in indexes:
            source = sources.enter_context(FrameSource(STREAM, index, namespace))
            count = int(seconds * RATE)
            threads.append(Thread(target=source.inject_at, args=(RATE, count), daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for thread in threads:
                thread.join()


def _monitor(seconds: float, numbers: list[int]) -> float:
    """The share of a core that it takes; `numbers`: of the interfaces, then of the workers."""
    watched = [
        _Watched(f"v{at}", numbers[INTERFACES + at], _plan(f"v{at}", numbers[at]))
        for at in range(INTERFACES)
    ]
    monitor = Monitor()
    recordings = cast("list[Recording]", watched)
    monitor.tick(recordings)
    begin = time.process_time()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        monitor.tick(recordings)
        time.sleep(BUSY)
    used = time.process_time() - begin
    if any(nic.lost is None for nic in monitor.nics):
        sys.exit("the interfaces cannot be read: /sys is not of their namespace")
    return used / seconds


def _plan(name: str, index: int) -> SimpleNamespace:
    source = SimpleNamespace(interface=name)
    return SimpleNamespace(link_index=index, plan=SimpleNamespace(source=source))


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, to the nanosecond."""
    ran = sum(
        int((task / "schedstat").read_text().split()[0])
        for task in Path(f"/proc/{pid}/task").iterdir()
    )
    return ran / 1e9


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.bench.monitor", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement (30)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured")
    parser.add_argument("--alone", nargs="+", type=float, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
