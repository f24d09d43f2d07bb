"""Gaps that begin under one daemon and end under another."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from capd.events import Kind
from tests.support.machine import Machine
from tests.support.service import is_another, main_pid, messages, start
from tests.support.wait import wait_for


@pytest.fixture
def captured(machine: Machine, interface: tuple[str, int]) -> str:
    """The name of an interface that the service captures."""
    start(machine, interface[0])
    return interface[0]


def gap_of(machine: Machine, name: str, end: Callable[[], object]) -> dict[str, Any]:
    """The one that is on record once `end` was done."""
    assert messages(machine, Kind.GAP, name) == []
    end()
    (gap,) = wait_for(lambda: messages(machine, Kind.GAP, name), 20, "the gap")
    assert gap["CAPD_STAGE"] == "link"
    return gap


def seconds(gap: dict[str, Any]) -> tuple[float, float]:
    """Since 1970: when it began and ended."""
    begin, end = (datetime.fromisoformat(gap[key]) for key in ("CAPD_FROM", "CAPD_TO"))
    return begin.timestamp(), end.timestamp()


@pytest.mark.fault(10)
def test_a_link_that_is_down_at_a_restart(machine: Machine, captured: str) -> None:
    """Its gap began when it was set down, and not with the daemon that finds it so."""
    begun = time.time()
    machine.net.set_link(captured, "down")
    wait_for(lambda: messages(machine, Kind.LINK_DOWN, captured), 20, "its being down")
    told = time.time()
    for _ in range(2):
        machine.systemctl("restart", "capd")
    ended = time.time()
    gap = gap_of(machine, captured, lambda: machine.net.set_link(captured, "up"))
    # The links may have been about to be looked at already, for what was done to them before.
    assert begun - 1 < seconds(gap)[0] < told < ended < seconds(gap)[1] < time.time()
    assert "the interface was set down" in gap["CAPD_CAUSE"]


@pytest.mark.fault(11, 42)
def test_made_again_while_there_is_no_daemon(machine: Machine, captured: str) -> None:
    """What nobody saw was since the daemon before had looked last."""
    begun = time.time()
    machine.write_unit("capd.service.d/late.conf", "[Service]\nRestartSec=2\n")
    try:
        daemon = machine.property("InvocationID")
        os.kill(main_pid(machine), signal.SIGKILL)
        machine.net.delete_link(captured)
        machine.add_veth(captured, f"{captured}p")
        made = time.time()
        gap = gap_of(
            machine,
            captured,
            lambda: wait_for(lambda: is_another(machine, daemon), 20, "another daemon"),
        )
    finally:
        machine.remove_unit("capd.service.d/late.conf")
    assert begun - 2 < seconds(gap)[0] < made < seconds(gap)[1] < time.time()
    assert "the interface was deleted" in gap["CAPD_CAUSE"]


@pytest.mark.fault(11)
def test_gone_over_a_restart(machine: Machine, captured: str) -> None:
    """Its gap is told of while it lasts, and is one when it ends, though its ring is no more."""
    begun = time.time()
    machine.net.delete_link(captured)
    wait_for(lambda: messages(machine, Kind.LINK_DOWN, captured), 20, "its being gone")
    told = time.time()
    wait_for(lambda: messages(machine, Kind.FINISHED, captured), 20, "the end of its ring")
    daemon = machine.property("InvocationID")
    os.kill(main_pid(machine), signal.SIGKILL)
    wait_for(lambda: is_another(machine, daemon), 20, "another daemon")
    since = f"{captured}: no packets since"
    wait_for(lambda: since in lost(machine), 20, "the gap, of which it hears after it has begun")

    machine.add_veth(captured, f"{captured}p")
    gap = gap_of(machine, captured, lambda: None)
    machine.systemctl("restart", "capd")  # whatever else was to be told is
    assert messages(machine, Kind.GAP, captured) == [gap]
    assert begun - 1 < seconds(gap)[0] < told < seconds(gap)[1] < time.time()
    assert "the interface was deleted" in gap["CAPD_CAUSE"]


def lost(machine: Machine) -> str:
    """What `capd losses` has to say of the last minute."""
    done = machine.run("capd", "losses", "--since", "1min", check=False)
    return done.stdout + done.stderr
