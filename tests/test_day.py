"""A day of the service, and whether its journal reads as README.md tells it."""

from __future__ import annotations

import os
import re
import signal

from capd.events import Kind
from tests.support import judge
from tests.support.load import RATE, STREAM
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need_frame_source
from tests.support.recorder import segments, workers_of
from tests.support.roots import CHECKOUT
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

CONFIG = f"""
[storage]
directory = "{CAPTURES}"
require_mount = true
[capture]
ring_size = "16MiB"
flush_interval = "200ms"
rotate_size = "512MiB"
[[interface]]
name = "uplink0"
"""
STORY = re.compile(r"^    \w{3} \d\d [\d:]{8} capd\[\d+\]: (.*)$", re.MULTILINE)


def lines(machine: Machine) -> list[str]:
    """The journal of the service, as a person sees it."""
    argv = ["journalctl", "-u", "capd", "-o", "short", "--no-hostname", "--no-pager"]
    return machine.run(*argv).stdout.splitlines()


def told(machine: Machine, kind: Kind, count: int = 1) -> bool:
    return len(machine.journal(kind=kind)) >= count


def plain(line: str) -> str:
    """Without what is another number every day."""
    return re.sub(r"# (ms|s|min)\b", "# s", re.sub(r"\d[\d.,:]*", "#", line))


def test_the_story_of_a_day() -> None:
    """Start, reload, flap, crash, loss, stop."""
    need_frame_source()
    with Machine() as machine:
        index = machine.add_veth("uplink0", "peer0")
        machine.write_config(CONFIG)
        with FrameSource(STREAM, index, machine.name) as source:
            machine.systemctl("start", "capd")
            source.inject_at(RATE, RATE)
            machine.write_config(CONFIG + 'filter = "not port 22"\n')
            machine.systemctl("reload", "capd")
            source.inject_at(RATE, RATE)
            machine.write_config(CONFIG.replace("512MiB", "512 potatoes"))
            assert machine.run("systemctl", "reload", "capd", check=False).returncode
            machine.write_config(CONFIG)
            machine.systemctl("reload", "capd")
            machine.run("ip", "link", "set", "uplink0", "down")
            wait_for(lambda: told(machine, Kind.LINK_DOWN), 20, "the flap")
            machine.run("ip", "link", "set", "uplink0", "up")
            wait_for(lambda: told(machine, Kind.GAP), 20, "the gap")
            source.inject_at(RATE, RATE)
            os.kill(worker(machine), signal.SIGKILL)
            source.inject_at(RATE, RATE // 20)
            wait_for(lambda: told(machine, Kind.WENT_ON), 20, "another worker")
            os.kill(machine.pid_here(int(machine.property("MainPID"))), signal.SIGKILL)
            source.inject_at(RATE, RATE // 20)
            wait_for(lambda: told(machine, Kind.STARTED, 2), 20, "another daemon")
            stuck = worker(machine)
            os.kill(stuck, signal.SIGSTOP)
            source.inject_at(RATE, RATE * 4)
            os.kill(stuck, signal.SIGCONT)
            wait_for(lambda: told(machine, Kind.ALERT), 20, "the loss")
            machine.systemctl("stop", "capd")
        numbers = judge.numbers(segments(machine.captures, "uplink0"), STREAM)
        assert numbers == sorted(set(numbers))
        said = lines(machine)
    print("\n".join(said))
    story = STORY.findall((CHECKOUT / "README.md").read_text())
    assert len(story) > 10
    assert {plain(line) for line in story} <= {plain(line.partition("]: ")[2]) for line in said}


def worker(machine: Machine) -> int:
    """The only one."""
    daemon = machine.pid_here(int(machine.property("MainPID")))
    (pid,) = wait_for(lambda: workers_of(daemon), 20, "a worker")
    return pid
