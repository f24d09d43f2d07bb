"""The shipped unit on a real systemd: restarts, stops and kills under load lose nothing."""

from __future__ import annotations

import os
import random
import re
import signal
import stat
import statistics
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capd.events import Kind
from tests.support import judge
from tests.support.ledger import assert_all_clean
from tests.support.load import RATE, STREAM, steady
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need_frame_source
from tests.support.recorder import parts, segments
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

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
    name = f"t{zlib.crc32(request.node.name.encode()) % 10**6}"
    index = machine.add_veth(name, f"{name}p")
    yield name, index
    machine.run("systemctl", "stop", "capd", check=False)
    machine.run("ip", "link", "del", name)


def _start(machine: Machine, name: str, ring: str = "256MiB") -> None:
    machine.write_config(CONFIG.format(directory=CAPTURES, ring=ring, interface=name))
    machine.systemctl("start", "capd")


def _under_load(machine: Machine, index: int, act: Callable[[], None]) -> int:
    """Frames at RATE for as long as `act` lasts; gives how many."""
    with steady(machine.name, index) as source:
        time.sleep(0.5)  # of traffic before
        act()
        time.sleep(0.5)  # and behind
    return source.sent


def _pauses(machine: Machine) -> list[int]:
    return [int(one["CAPD_PAUSE_MS"]) for one in machine.journal() if "CAPD_PAUSE_MS" in one]


def _check_all(machine: Machine, name: str, count: int) -> None:
    machine.systemctl("stop", "capd")
    found = segments(machine.captures, name)
    judge.check_numbers(found, STREAM, count)
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

    count = _under_load(machine, index, restart)
    pauses = wait_for(lambda: _pauses(machine)[before:], 10, "the pauses in the journal")
    assert len(pauses) == 20
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    _check_all(machine, name, count)


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

    count = _under_load(machine, index, kill)
    pauses = _pauses(machine)[before:]
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    _check_all(machine, name, count)


def test_stop_and_start(machine: Machine, interface: tuple[str, int]) -> None:
    """What was sent before a stop is there; the gap is told at the next start."""
    name, index = interface
    with FrameSource(STREAM, index, machine.name) as source:
        for number in range(5):
            _start(machine, name)
            source.inject_at(RATE, RATE // 2)
            machine.systemctl("stop", "capd")
            assert machine.property("NFileDescriptorStore") == "0"
            judge.check_numbers(
                segments(machine.captures, name), STREAM, (number + 1) * (RATE // 2)
            )
    gaps = [one for one in machine.journal() if "was not capturing" in str(one["MESSAGE"])]
    assert len([one for one in gaps if one["CAPD_INTERFACE"] == name]) == 4


def _messages(machine: Machine, kind: Kind, interface: str) -> list[dict[str, Any]]:
    """What it has said of this kind about an interface, with all fields."""
    return [
        one
        for one in machine.journal()
        if one.get("MESSAGE_ID") == kind.message_id and one.get("CAPD_INTERFACE") == interface
    ]


def test_a_ring_that_is_too_small(machine: Machine, interface: tuple[str, int]) -> None:
    """What it could not hold over a restart is what the kernel counted, to the packet."""
    name, index = interface
    _start(machine, name, ring="4MiB")

    def restart() -> None:
        for _ in range(5):
            machine.run("kill", "-STOP", machine.property("MainPID"))
            (worker,) = _workers(machine)
            os.kill(worker, signal.SIGSTOP)
            time.sleep(1)  # longer than the ring holds
            machine.run("kill", "-CONT", machine.property("MainPID"))
            machine.systemctl("restart", "capd")

    count = _under_load(machine, index, restart)
    machine.systemctl("stop", "capd")
    numbers = judge.numbers(segments(machine.captures, name), STREAM)
    assert numbers == sorted(set(numbers))
    (finished,) = _messages(machine, Kind.FINISHED, name)
    counters = re.findall(r"(\w+) ([\d,]+)", finished["MESSAGE"])
    told = {key: int(text.replace(",", "")) for key, text in counters}
    assert told["received"] == count
    assert told["written"] == len(numbers)
    assert told["dropped"] == count - len(numbers) > 0
    losses = [int(one["CAPD_PACKETS"]) for one in _messages(machine, Kind.LOSS, name)]
    assert sum(losses) == told["dropped"]


def _workers(machine: Machine) -> list[int]:
    """As this machine numbers them."""
    pid = _main_pid(machine)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def test_reload(machine: Machine, interface: tuple[str, int]) -> None:
    """A good file is in force when systemctl returns; a bad one fails, and costs nothing."""
    name, index = interface
    _start(machine, name)
    good = CONFIG.format(directory=CAPTURES, ring="256MiB", interface=name)

    def reload() -> None:
        machine.write_config(good.replace('"16MiB"', '"32MiB"'))
        machine.systemctl("reload", "capd")
        assert "rotate_size 16 MiB -> 32 MiB" in machine.journal_text(Kind.RELOADED)
        machine.write_config(good.replace('"16MiB"', "16").replace('"20ms"', '"soon"'))
        done = machine.run("systemctl", "reload", "capd", check=False)
        assert done.returncode == 1
        assert "Job for capd.service failed" in done.stderr
        refused = machine.journal_text(Kind.RELOAD_REFUSED)
        assert "capture.rotate_size: " in refused
        assert "capture.flush_interval: " in refused
        by_hand = machine.run("capd", "reload", check=False)
        assert by_hand.returncode == 1
        assert "capture.flush_interval: " in by_hand.stderr
        # Not even a restart makes it lose what it has.
        machine.systemctl("restart", "capd")
        assert "cannot be used; the config before it stays in force" in machine.journal_text(
            Kind.OLD_CONFIG
        )
        assert "cannot be used" in machine.run("capd", "status").stdout

    count = _under_load(machine, index, reload)
    _check_all(machine, name, count)


def test_the_sandbox(machine: Machine, interface: tuple[str, int]) -> None:
    name, _ = interface
    _start(machine, name)
    text = machine.run("systemd-analyze", "security", "--no-pager", "capd", check=False).stdout
    found = re.search(r"Overall exposure level for capd.service: ([\d.]+)", text)
    assert found is not None
    assert float(found[1]) <= 1.3
    assert machine.run("systemd-analyze", "verify", "capd.service").stderr == ""
    assert machine.run("journalctl", "--update-catalog").returncode == 0
    explained = machine.run("journalctl", "-x", "-u", "capd", "--no-pager").stdout
    assert "The capture service is up: everything that its config" in explained
    for segment in parts(machine.captures, name):
        assert stat.S_IMODE(segment.stat().st_mode) == 0o640
