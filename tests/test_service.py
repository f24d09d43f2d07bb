"""The shipped unit on a real systemd: restarts, stops and kills under load lose nothing."""

from __future__ import annotations

import os
import re
import signal
import stat
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capd.events import Kind
from tests.support import judge
from tests.support.ledger import assert_all_clean
from tests.support.load import RATE, STREAM, chance, steady
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need_frame_source
from tests.support.recorder import parts, segments
from tests.support.roots import System
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

CONFIG = """
[storage]
directory = "{directory}"
[capture]
ring_size = "{ring}"
flush_interval = "{flush}"
rotate_size = "16MiB"
[[interface]]
name = "{interface}"
"""


@pytest.fixture(scope="module", params=System, ids=lambda system: system.value)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    need_frame_source()
    with Machine(request.param) as booted:
        yield booted


@pytest.fixture
def interface(machine: Machine, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A new one for every test, captured by the running service."""
    name = f"t{zlib.crc32(request.node.name.encode()) % 10**6}"
    index = machine.add_veth(name, f"{name}p")
    yield name, index
    machine.run("systemctl", "stop", "capd", check=False)
    machine.run("ip", "link", "del", name)


def _start(machine: Machine, name: str, ring: str = "256MiB", flush: str = "20ms") -> None:
    config = CONFIG.format(directory=CAPTURES, ring=ring, flush=flush, interface=name)
    machine.write_config(config)
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
    return machine.pid_here(int(machine.property("MainPID")))


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
    rng = chance()
    _start(machine, name)
    before = len(_pauses(machine))

    def kill() -> None:
        for number in range(1, 21):
            os.kill(_main_pid(machine), signal.SIGKILL)
            wait_for(lambda: len(_pauses(machine)) - before >= number, 20, "a pause")  # noqa: B023
            wait_for(lambda: _is_active(machine), 20, "the service")
            time.sleep(rng.uniform(0, 0.3))

    count = _under_load(machine, index, kill)
    pauses = _pauses(machine)[before:]
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    _check_all(machine, name, count)


def test_fifty_kills_of_workers(machine: Machine, interface: tuple[str, int]) -> None:
    """SIGKILL at random instants, as the unit runs them."""
    name, index = interface
    rng = chance()
    _start(machine, name, flush="100ms")  # after several young deaths the next worker waits
    before = len(_pauses(machine))

    def kill() -> None:
        for number in range(1, 51):
            (worker,) = wait_for(lambda: _workers(machine), 10, "a worker")
            os.kill(worker, signal.SIGKILL)
            wait_for(lambda: len(_pauses(machine)) - before >= number, 20, "a pause")  # noqa: B023
            time.sleep(rng.uniform(0, 0.4))

    count = _under_load(machine, index, kill)
    pauses = _pauses(machine)[before:]
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    _check_all(machine, name, count)


def test_stop_under_load(machine: Machine, interface: tuple[str, int]) -> None:
    """Accepted is written plus dropped, to the packet, within the time that the unit gives it."""
    name, index = interface
    _start(machine, name)
    with steady(machine.name, index):
        wait_for(lambda: segments(machine.captures, name), 20, "a segment")
        begun = time.monotonic()
        machine.systemctl("stop", "capd")
        assert time.monotonic() - begun < 10
    (told,) = _finished(machine, name)
    numbers = judge.numbers(segments(machine.captures, name), STREAM)
    assert numbers == list(range(told["received"]))
    assert told["written"] == told["received"]
    assert told["dropped"] == 0
    assert machine.property("Result") == "success"


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
    (told,) = _finished(machine, name)
    assert told["received"] == count
    assert told["written"] == len(numbers)
    assert told["dropped"] == count - len(numbers) > 0
    losses = [int(one["CAPD_PACKETS"]) for one in _messages(machine, Kind.LOSS, name)]
    assert sum(losses) == told["dropped"]


def _finished(machine: Machine, name: str) -> list[dict[str, int]]:
    """The counters of each ring of an interface, as they were told at its end."""
    return [
        {
            key: int(text.replace(",", ""))
            for key, text in re.findall(r"(\w+) ([\d,]+)", message["MESSAGE"])
        }
        for message in _messages(machine, Kind.FINISHED, name)
    ]


def _workers(machine: Machine) -> list[int]:
    """As this machine numbers them."""
    pid = _main_pid(machine)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def test_reload(machine: Machine, interface: tuple[str, int]) -> None:
    """A good file is in force when systemctl returns; a bad one fails, and costs nothing."""
    name, index = interface
    _start(machine, name)
    good = CONFIG.format(directory=CAPTURES, ring="256MiB", flush="20ms", interface=name)

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


def test_a_stranger_can_read_it(machine: Machine, interface: tuple[str, int]) -> None:
    """The journal explains itself, and the group may read the captures."""
    name, _ = interface
    _start(machine, name)
    machine.run("journalctl", "--update-catalog")
    explained = machine.run("journalctl", "-x", "-u", "capd", "--no-pager").stdout
    assert "The capture service is up: everything that its config" in explained
    for segment in parts(machine.captures, name):
        assert stat.S_IMODE(segment.stat().st_mode) == 0o640
