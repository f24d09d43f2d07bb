"""The shipped unit on a real systemd: restarts, stops and kills under load lose nothing."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.frames import IMIX, Stream
from tests.support.ledger import assert_all_clean
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need_frame_source
from tests.support.recorder import parts, segments
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

RATE = 20_000  # packets a second
CONFIG = """
[storage]
directory = "{directory}"
[capture]
ring_size = "{ring}"
flush_interval = "20ms"
rotate_size = "16MiB"
[[interface]]
name = "{interface}"
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    need_frame_source()
    with Machine() as booted:
        yield booted


@pytest.fixture
def interface(machine: Machine, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A new one for every test, captured by the running service."""
    name = f"t{abs(hash(request.node.name)) % 10**6}"
    index = machine.add_veth(name, f"{name}p")
    yield name, index
    machine.run("systemctl", "stop", "capd", check=False)
    machine.run("ip", "link", "del", name)


def _start(machine: Machine, name: str, ring: str = "256MiB") -> None:
    machine.write_config(CONFIG.format(directory=CAPTURES, ring=ring, interface=name))
    machine.systemctl("start", "capd")


def _under_load(
    machine: Machine, name: str, index: int, act: Callable[[], None]
) -> tuple[Stream, int]:
    """Frames at RATE for as long as `act` lasts; gives what was sent."""
    stream = Stream(IMIX)
    done = threading.Event()
    with FrameSource(stream, index, machine.name) as source:

        def inject() -> None:
            while not done.is_set():
                source.inject_at(RATE, RATE // 10)

        traffic = threading.Thread(target=inject)
        traffic.start()
        try:
            time.sleep(0.5)  # of traffic before
            act()
            time.sleep(0.5)  # and behind
        finally:
            done.set()
            traffic.join()
        return stream, source.sent


def _pauses(machine: Machine) -> list[int]:
    return [int(one["CAPD_PAUSE_MS"]) for one in machine.journal() if "CAPD_PAUSE_MS" in one]


def _check_all(machine: Machine, name: str, stream: Stream, count: int) -> None:
    machine.systemctl("stop", "capd")
    found = segments(machine.captures, name)
    judge.check_numbers(found, stream, count)
    assert_all_clean(found)
    assert parts(machine.captures, name) == []


def _main_pid(machine: Machine) -> int:
    """As this machine numbers it."""
    inside = int(machine.property("MainPID"))
    argv = ["pgrep", "-f", "capd run --keep-rings"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    for pid in map(int, done.stdout.split()):
        status = Path(f"/proc/{pid}/status").read_text()
        (numbers,) = [line.split() for line in status.splitlines() if line.startswith("NSpid:")]
        if len(numbers) > 2 and int(numbers[-1]) == inside:
            return pid
    raise AssertionError(f"no process {inside} of the machine")


def _is_active(machine: Machine) -> bool:
    return machine.property("ActiveState") == "active"


def test_twenty_restarts(machine: Machine, interface: tuple[str, int]) -> None:
    name, index = interface
    _start(machine, name)
    before = len(_pauses(machine))

    def restart() -> None:
        for _ in range(20):
            machine.systemctl("restart", "capd")

    stream, count = _under_load(machine, name, index, restart)
    pauses = wait_for(lambda: _pauses(machine)[before:], 10, "the pauses in the journal")
    assert len(pauses) == 20
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    _check_all(machine, name, stream, count)


def test_twenty_kills(machine: Machine, interface: tuple[str, int]) -> None:
    """SIGKILL of the daemon, at random instants."""
    name, index = interface
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    _start(machine, name)
    before = len(_pauses(machine))

    def kill() -> None:
        for number in range(1, 21):
            os.kill(_main_pid(machine), signal.SIGKILL)
            wait_for(lambda: len(_pauses(machine)) - before >= number, 20, "a pause")  # noqa: B023
            wait_for(lambda: _is_active(machine), 20, "the service")
            time.sleep(chance.uniform(0, 0.3))

    stream, count = _under_load(machine, name, index, kill)
    pauses = _pauses(machine)[before:]
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    _check_all(machine, name, stream, count)


def test_stop_and_start(machine: Machine, interface: tuple[str, int]) -> None:
    """What was sent before a stop is there; the gap is told at the next start."""
    name, index = interface
    stream = Stream(IMIX)
    with FrameSource(stream, index, machine.name) as source:
        for number in range(5):
            _start(machine, name)
            source.inject_at(RATE, RATE // 2)
            machine.systemctl("stop", "capd")
            assert machine.property("NFileDescriptorStore") == "0"
            judge.check_numbers(
                segments(machine.captures, name), stream, (number + 1) * (RATE // 2)
            )
    gaps = [one for one in machine.journal() if "was not capturing" in str(one["MESSAGE"])]
    assert len([one for one in gaps if one["CAPD_INTERFACE"] == name]) == 4
