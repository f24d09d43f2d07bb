"""The shipped service on a booted systemd, under load: what its tests do again and again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from capd.events import Kind
from tests.support import judge
from tests.support.ledger import assert_all_clean
from tests.support.load import RATE, STREAM, steady
from tests.support.machine import CAPTURES, Machine
from tests.support.recorder import parts, segments, workers_of

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


def config(name: str, ring: str = "256MiB", flush: str = "100ms") -> str:
    """One that records this interface; a ring of so many blocks holds six seconds of it."""
    return CONFIG.format(directory=CAPTURES, ring=ring, flush=flush, interface=name)


def start(machine: Machine, name: str, ring: str = "256MiB", flush: str = "100ms") -> None:
    """The service, with that config."""
    machine.write_config(config(name, ring, flush))
    machine.systemctl("start", "capd")


def under_load(machine: Machine, index: int, act: Callable[[], object]) -> int:
    """Frames for as long as `act` lasts; gives how many."""
    with steady(machine.name, index, rate=RATE // 2) as source:
        time.sleep(0.5)  # of traffic before
        act()
        time.sleep(0.5)  # and behind
    return source.sent


def told_pauses(machine: Machine) -> list[int]:
    """Every pause that it has told, in ms."""
    return [int(one["CAPD_PAUSE_MS"]) for one in machine.journal(kind=Kind.WENT_ON)]


def check_all(machine: Machine, name: str, count: int) -> None:
    """Stop it: the first `count` frames are in segments, each once, and no other."""
    machine.systemctl("stop", "capd")
    found = segments(machine.captures, name)
    judge.check_numbers(found, STREAM, count)
    assert_all_clean(found)
    assert parts(machine.captures, name) == []


def main_pid(machine: Machine) -> int:
    """As this machine numbers it."""
    return machine.pid_here(int(machine.property("MainPID")))


def is_active(machine: Machine) -> bool:
    """Whether it has said that it is ready."""
    return machine.property("ActiveState") == "active"


def is_another(machine: Machine, invocation: str) -> bool:
    """Whether one of another invocation has said so: of one just killed systemd still says it."""
    return machine.property("InvocationID") != invocation and is_active(machine)


def messages(machine: Machine, kind: Kind, interface: str) -> list[dict[str, Any]]:
    """What it has said of this kind about an interface, with all fields."""
    return [one for one in machine.journal(kind=kind) if one.get("CAPD_INTERFACE") == interface]


def finished(machine: Machine, name: str) -> list[dict[str, int]]:
    """The counters of each ring of an interface, as they were told at its end."""
    return [
        {
            key: int(text.replace(",", ""))
            for key, text in re.findall(r"(\w+) ([\d,]+)", message["MESSAGE"])
        }
        for message in messages(machine, Kind.FINISHED, name)
    ]


def workers(machine: Machine) -> list[int]:
    """Its workers, as this machine numbers them."""
    return workers_of(main_pid(machine))
