"""The shipped unit on a real systemd: restarts, stops and kills under load lose nothing."""

from __future__ import annotations

import json
import os
import signal
import stat
import statistics
import time

import pytest

from capd.events import Kind
from tests.support import judge
from tests.support.frames import IMIX, Stream
from tests.support.load import RATE, STREAM, chance, steady
from tests.support.machine import Machine
from tests.support.recorder import parts, segments
from tests.support.service import (
    check_all,
    config,
    finished,
    is_active,
    main_pid,
    messages,
    start,
    told_pauses,
    under_load,
    workers,
)
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource


@pytest.mark.fault(42, 52)
def test_twenty_restarts(machine: Machine, interface: tuple[str, int]) -> None:
    name, index = interface
    start(machine, name)
    before = len(told_pauses(machine))

    def restart() -> None:
        for _ in range(20):
            machine.systemctl("restart", "capd")

    count = under_load(machine, index, restart)
    wait_for(lambda: len(told_pauses(machine)) >= before + 20, 20, "the pauses in the journal")
    pauses = told_pauses(machine)[before:]
    assert len(pauses) == 20
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    check_all(machine, name, count)


@pytest.mark.fault(42)
def test_twenty_kills(machine: Machine, interface: tuple[str, int]) -> None:
    """SIGKILL of the daemon, at random instants."""
    name, index = interface
    rng = chance()
    start(machine, name)
    before = len(told_pauses(machine))

    def kill() -> None:
        for number in range(1, 21):
            os.kill(main_pid(machine), signal.SIGKILL)
            wait_for(lambda: len(told_pauses(machine)) - before >= number, 20, "a pause")  # noqa: B023
            wait_for(lambda: is_active(machine), 20, "the service")
            time.sleep(rng.uniform(0, 0.3))

    count = under_load(machine, index, kill)
    pauses = told_pauses(machine)[before:]
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    check_all(machine, name, count)


@pytest.mark.fault(42)
def test_fifty_kills_of_workers(machine: Machine, interface: tuple[str, int]) -> None:
    """SIGKILL at random instants, as the unit runs them."""
    name, index = interface
    rng = chance()
    start(machine, name)
    before = len(told_pauses(machine))

    def kill() -> None:
        for number in range(1, 51):
            (worker,) = wait_for(lambda: workers(machine), 20, "a worker")
            os.kill(worker, signal.SIGKILL)
            wait_for(lambda: len(told_pauses(machine)) - before >= number, 20, "a pause")  # noqa: B023
            time.sleep(rng.uniform(0, 0.4))

    count = under_load(machine, index, kill)
    pauses = told_pauses(machine)[before:]
    print(f"pauses: median {statistics.median(pauses)} ms, {sorted(pauses)}")
    check_all(machine, name, count)


@pytest.mark.fault(45)
def test_a_daemon_that_hangs(machine: Machine, interface: tuple[str, int]) -> None:
    """systemd's watchdog ends it; the next one goes on with the ring, and nothing is lost."""
    name, index = interface
    machine.write_unit("capd.service.d/watchdog.conf", "[Service]\nWatchdogSec=4\n")
    try:
        start(machine, name, ring="64MiB")
        before, daemon = len(told_pauses(machine)), main_pid(machine)

        def hang() -> None:
            os.kill(daemon, signal.SIGSTOP)
            wait_for(lambda: len(told_pauses(machine)) > before, 20, "another daemon to go on")
            wait_for(lambda: is_active(machine), 20, "the service")
            assert main_pid(machine) != daemon

        count = under_load(machine, index, hang)
    finally:
        machine.remove_unit("capd.service.d/watchdog.conf")
    assert any("Watchdog timeout" in str(one["MESSAGE"]) for one in machine.journal())
    check_all(machine, name, count)


@pytest.mark.fault(41)
def test_stop_under_load(machine: Machine, interface: tuple[str, int]) -> None:
    """Accepted is written plus dropped, to the packet, and nobody waits for it for long."""
    name, index = interface
    start(machine, name)
    with steady(machine.name, index):
        wait_for(lambda: segments(machine.captures, name), 20, "a segment")
        began = time.monotonic()
        machine.systemctl("stop", "capd")
        took = time.monotonic() - began
    (told,) = finished(machine, name)
    numbers = judge.numbers(segments(machine.captures, name), STREAM)
    assert numbers == list(range(told["received"]))
    assert told["written"] == told["received"]
    assert told["dropped"] == 0
    assert machine.property("Result") == "success"
    assert took < 60  # the drain extends the unit's own time for as long as it goes on


def test_stop_and_start(machine: Machine, interface: tuple[str, int]) -> None:
    """What was sent before a stop is there; the gap is told at the next start."""
    name, index = interface
    with FrameSource(STREAM, index, machine.name) as source:
        for number in range(5):
            start(machine, name)
            source.inject_at(RATE, RATE // 2)
            machine.systemctl("stop", "capd")
            assert machine.property("NFileDescriptorStore") == "0"
            judge.check_numbers(
                segments(machine.captures, name), STREAM, (number + 1) * (RATE // 2)
            )
    gaps = [one for one in machine.journal() if "was not capturing" in str(one["MESSAGE"])]
    assert len([one for one in gaps if one["CAPD_INTERFACE"] == name]) == 4


@pytest.mark.fault(42)
def test_a_ring_that_is_too_small(machine: Machine, interface: tuple[str, int]) -> None:
    """What it could not hold over a restart is what the kernel counted, to the packet."""
    name, index = interface
    start(machine, name, ring="4MiB")

    def restart() -> None:
        for _ in range(5):
            machine.run("kill", "-STOP", machine.property("MainPID"))
            (worker,) = workers(machine)
            os.kill(worker, signal.SIGSTOP)
            time.sleep(1)  # longer than the ring holds
            machine.run("kill", "-CONT", machine.property("MainPID"))
            machine.systemctl("restart", "capd")

    count = under_load(machine, index, restart)
    machine.systemctl("stop", "capd")
    numbers = judge.numbers(segments(machine.captures, name), STREAM)
    assert numbers == sorted(set(numbers))
    (told,) = finished(machine, name)
    assert told["received"] == count
    assert told["written"] == len(numbers)
    assert told["dropped"] == count - len(numbers) > 0
    losses = [int(one["CAPD_PACKETS"]) for one in messages(machine, Kind.LOSS, name)]
    assert sum(losses) == told["dropped"]
    words = ("--since", "10min", "--interface", name, "--stage", "ring", "--json")
    on_disk = json.loads(machine.run("capd", "losses", *words, check=False).stdout)["losses"]
    assert [one["packets"] for one in on_disk] == losses


@pytest.mark.fault(43)
def test_reload(machine: Machine, interface: tuple[str, int]) -> None:
    """A good file is in force when systemctl returns; a bad one fails, and costs nothing."""
    name, index = interface
    start(machine, name)
    good = config(name)

    def reload() -> None:
        machine.write_config(good.replace('"16MiB"', '"32MiB"'))
        machine.systemctl("reload", "capd")
        assert "rotate_size 16 MiB -> 32 MiB" in machine.journal_text(Kind.RELOADED)
        machine.write_config(good.replace('"16MiB"', "16").replace('"100ms"', '"soon"'))
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

    count = under_load(machine, index, reload)
    check_all(machine, name, count)


@pytest.mark.fault(52)
def test_ten_other_rings(machine: Machine, interface: tuple[str, int]) -> None:
    """Each is opened, kept and cut over within the confinement; a restart finds the last one."""
    name, index = interface
    start(machine, name)

    def change() -> None:
        for number in range(1, 11):
            machine.write_config(config(name, ring=("256MiB", "128MiB")[number % 2]))
            machine.systemctl("reload", "capd")
            assert machine.property("NFileDescriptorStore") == "2"
        machine.systemctl("restart", "capd")

    count = under_load(machine, index, change)
    assert len(messages(machine, Kind.RING_CHANGED, name)) == 10
    check_all(machine, name, count)


@pytest.mark.fault(11)
def test_an_interface_that_is_made_again(machine: Machine, interface: tuple[str, int]) -> None:
    """The user of the service may open it again; the gap has both ends, and is short."""
    name, index = interface
    start(machine, name)
    with FrameSource(STREAM, index, machine.name) as source:
        source.inject_at(RATE, RATE)
    machine.run("ip", "link", "del", name)
    index = machine.add_veth(name, f"{name}p")
    begun = time.monotonic()
    wait_for(lambda: messages(machine, Kind.GAP, name), 20, "its end")
    assert time.monotonic() - begun < 5  # a second, and the asking on a busy machine
    with FrameSource(Stream(IMIX, first=RATE), index, machine.name) as source:
        source.inject_at(RATE, RATE)
    (gap,) = messages(machine, Kind.GAP, name)
    assert "the interface was deleted" in gap["CAPD_CAUSE"]
    assert gap["CAPD_TO"] > gap["CAPD_FROM"]
    check_all(machine, name, 2 * RATE)


@pytest.mark.fault(12)
def test_one_that_is_missing(machine: Machine, interface: tuple[str, int]) -> None:
    """The service is up, says what it waits for, and captures the others; then that one, too."""
    name, index = interface
    late = f"{name}b"
    machine.write_config(f'{config(name, "64MiB", "100ms")}\n[[interface]]\nname = "{late}"\n')
    machine.systemctl("start", "capd")
    told = machine.property("StatusText")
    assert told.startswith(f"waiting for {late}; 1 interface, ")
    other = machine.add_veth(late, f"{late}p")
    wait_for(lambda: machine.property("StatusText").startswith("2 interfaces, "), 20, "both")
    for link in (index, other):
        with FrameSource(STREAM, link, machine.name) as source:
            source.inject_at(RATE, RATE)
    check_all(machine, late, RATE)
    check_all(machine, name, RATE)
    machine.net.delete_link(late)


@pytest.mark.fault(51)
def test_a_stranger_can_read_it(machine: Machine, interface: tuple[str, int]) -> None:
    """The journal explains itself, and the group may read the captures."""
    name, _ = interface
    start(machine, name)
    machine.run("journalctl", "--update-catalog")
    explained = machine.run("journalctl", "-x", "-u", "capd", "--no-pager").stdout
    assert "The capture service is up: everything that its config" in explained
    for segment in parts(machine.captures, name):
        assert stat.S_IMODE(segment.stat().st_mode) == 0o640
