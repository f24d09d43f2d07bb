"""The metrics as a service beside capd's: there whatever becomes of capd, and never in its way."""

from __future__ import annotations

import os
import re
import signal

import pytest

from tests.support.machine import Machine
from tests.support.service import is_active, main_pid
from tests.support.wait import wait_for

FETCH = ("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9917; printf 'GET /\n\n' >&3; cat <&3")
CONFIG = '[[interface]]\nname = "x"\n'
LISTEN = '[metrics]\nlisten = "127.0.0.1:9917"\n'


def serves(machine: Machine, up: str) -> None:
    """Wait until the metrics say so of capd."""
    told = f"\ncapd_up {up}\n"
    wait_for(lambda: told in machine.run(*FETCH, check=False).stdout, 20, f"capd_up {up}")


def pid_of(machine: Machine) -> str:
    """Of the process that serves them."""
    return machine.property("MainPID", "capd-metrics")


def test_they_say_so_when_capd_is_gone(machine: Machine) -> None:
    """And go on when it is back; they are no part of any start of capd, which must not wait."""
    machine.write_config(LISTEN + CONFIG)
    machine.systemctl("enable", "capd-metrics")
    machine.systemctl("start", "capd")
    serves(machine, "1.0")
    pid = pid_of(machine)
    os.kill(main_pid(machine), signal.SIGKILL)
    wait_for(lambda: machine.property("NRestarts") == "1" and is_active(machine), 20, "a restart")
    machine.systemctl("restart", "capd")
    machine.systemctl("stop", "capd")  # and /run/capd goes
    serves(machine, "0.0")
    machine.systemctl("start", "capd")
    serves(machine, "1.0")
    assert pid_of(machine) == pid
    machine.systemctl("stop", "capd", "capd-metrics")
    assert machine.property("Result", "capd-metrics") == "success"


@pytest.mark.security("rights", "metrics")
def test_who_serves_them_sees_the_status_and_no_capture(machine: Machine) -> None:
    machine.write_config(LISTEN + CONFIG)
    machine.systemctl("start", "capd", "capd-metrics")
    serves(machine, "1.0")
    there = f"/proc/{pid_of(machine)}"
    assert "status.json" in machine.run("ls", f"{there}/root/run/capd").stdout
    assert machine.run("ls", f"{there}/root/var/lib/capd", check=False).returncode == 2
    status = machine.run("cat", f"{there}/status").stdout
    assert set(re.findall(r"^Cap\w+:\t(\w+)$", status, re.MULTILINE)) == {f"{0:016x}"}
    assert f"\nUid:\t{machine.run('id', '-u', 'capd').stdout.strip()}\t" not in status
    machine.systemctl("stop", "capd", "capd-metrics")


@pytest.mark.security("metrics")
def test_without_an_address_it_ends_well(machine: Machine) -> None:
    machine.write_config(CONFIG)
    machine.systemctl("start", "capd-metrics")
    wait_for(lambda: machine.property("SubState", "capd-metrics") == "dead", 20, "its end")
    assert machine.property("Result", "capd-metrics") == "success"
    said = [str(entry["MESSAGE"]) for entry in machine.journal("capd-metrics")]
    assert any("nothing to serve" in line for line in said)
