"""What passes is no reason to end: a compiler that is killed, another daemon, an unknown key."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from capd.events import Kind
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need_frame_source
from tests.support.roots import WITH_CAPD
from tests.support.service import check_all, config, is_active, messages, start, under_load
from tests.support.wait import wait_for

KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One is enough: what is tried is capd's."""
    need_frame_source()
    with Machine(WITH_CAPD[0]) as booted:
        yield booted


def test_a_compiler_that_is_killed(machine: Machine, interface: tuple[str, int]) -> None:
    """At a restart, again and again: the ring goes on as it is, until it can be asked for."""
    name, index = interface
    machine.write_config(config(name) + 'filter = "not port 22"\n')
    machine.systemctl("start", "capd")
    (compiler,) = machine.root.glob("usr/lib/capd/lib/*/site-packages/capd/filter_compiler.py")
    whole = compiler.read_text()

    def restart() -> None:
        compiler.write_text(KILLED)
        try:
            machine.systemctl("restart", "capd")
            wait_for(lambda: messages(machine, Kind.CANNOT_CAPTURE, name), 20, "the reason")
        finally:
            compiler.write_text(whole)

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
    start(machine, name)
    for path in ("/etc/capd.toml", "/run/capd/capd.toml"):
        machine.run("sh", "-c", f"echo 'colour = 1' >> {path}")

    count = under_load(machine, index, lambda: machine.systemctl("restart", "capd"))
    said = machine.journal_text(Kind.OLD_CONFIG)
    assert "of the config before it, what this version knows stays in force: correct it" in said
    disk = wait_for(lambda: disk_of(machine), 20, "retention to go on")
    assert disk["directory"] == CAPTURES
    check_all(machine, name, count)
