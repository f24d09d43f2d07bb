"""What passes is no reason to end: a compiler that is killed, another daemon, an unknown key."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from capd.events import Kind
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need_frame_source
from tests.support.roots import WITH_CAPD
from tests.support.service import check_all, config, is_active, messages, start, under_load
from tests.support.wait import wait_for

SLOW = " or ".join(f"host 10.0.{number}.1" for number in range(200))  # for libpcap


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One is enough: what is tried is capd's."""
    need_frame_source()
    with Machine(WITH_CAPD[0]) as booted:
        yield booted


def kill_compilers(machine: Machine, count: int) -> None:
    """The next ones that run there, while they run."""
    killed: set[int] = set()
    deadline = time.monotonic() + 60
    while len(killed) < count:
        assert time.monotonic() < deadline
        for process in psutil.Process(machine.pid).children(recursive=True):
            try:
                if process.pid not in killed and "filter_compiler.py" in " ".join(
                    process.cmdline()
                ):
                    process.kill()
                    killed.add(process.pid)
            except psutil.NoSuchProcess:
                continue


def test_a_compiler_that_is_killed(machine: Machine, interface: tuple[str, int]) -> None:
    """At a restart, again and again: the ring goes on as it is, until it can be asked for."""
    name, index = interface
    text = config(name, "256MiB", "100ms") + f'filter = "not ({SLOW})"\n'
    machine.write_config(text)
    machine.systemctl("start", "capd")

    def restart() -> None:
        with ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill_compilers, machine, 2)
            machine.systemctl("restart", "capd")
            killing.result()
        wait_for(lambda: messages(machine, Kind.CANNOT_CAPTURE, name), 20, "the reason")

    count = under_load(machine, index, restart)
    said = machine.journal_text(Kind.OLD_CONFIG)
    assert "the config before it stays in force: capd tries again every minute" in said
    (told,) = messages(machine, Kind.CANNOT_CAPTURE, name)
    assert "did not survive it (SIGKILL); it goes on as before" in told["MESSAGE"]
    wait_for(lambda: "cannot capture" not in machine.property("StatusText"), 20, "the filter")
    machine.systemctl("reload", "capd")
    assert "cannot be used" not in machine.run("capd", "status").stdout
    assert messages(machine, Kind.FINISHED, name) == []
    check_all(machine, name, count)


def test_a_directory_that_another_has(machine: Machine, interface: tuple[str, int]) -> None:
    """The start fails, and the next ones; once the other is gone one does not."""
    name, _ = interface
    machine.write_config(config(name, "64MiB"))
    other = os.open(machine.captures, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        failed = machine.run("systemctl", "start", "capd", check=False)
        assert failed.returncode == 1
        assert "another capd" in machine.journal_text(Kind.NOT_STARTED)
    finally:
        os.close(other)
    wait_for(lambda: is_active(machine), 30, "the service")


def disk_of(machine: Machine) -> Any:
    """What the status says of it; None until the daemon has looked."""
    return json.loads(machine.run("capd", "status", "--json").stdout)["disk"]


def test_a_key_that_this_version_does_not_know(
    machine: Machine, interface: tuple[str, int]
) -> None:
    """After an upgrade, say: rings go on, and the rest of the config with them."""
    name, index = interface
    start(machine, name, flush="100ms")
    for path in ("/etc/capd.toml", "/run/capd/capd.toml"):
        machine.run("sh", "-c", f"echo 'colour = 1' >> {path}")

    count = under_load(machine, index, lambda: machine.systemctl("restart", "capd"))
    said = machine.journal_text(Kind.OLD_CONFIG)
    assert "of the config before it, what this version knows stays in force: correct it" in said
    disk = wait_for(lambda: disk_of(machine), 10, "retention to go on")
    assert disk["directory"] == CAPTURES
    check_all(machine, name, count)
