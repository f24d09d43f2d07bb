"""`capd tune` killed at every system call that could matter: what was there comes back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.tuning.record import FILE
from tests.support.disk import Faults
from tests.support.need import need, need_namespaces
from tests.support.net import Namespace
from tests.support.roots import CHECKOUT
from tests.support.tuned import changes, furnish, settings

CALLS = "fsync,write,rename,renameat,renameat2,ioctl"
NOTHING = "delay_enter=0"
CONFIG = """
[tuning]
sysctl = { "net.core.somaxconn" = 77, "net.ipv4.conf.v0.rp_filter" = 2 }
[[interface]]
name = "v0"
tuning = { channels = { rx = 2 } }
[[interface]]
name = "tap0"
tuning = { coalesce = { rx_frames = 16 }, offloads = { gro = false } }
"""
CHANGED = 5  # values that this changes


class Child:
    """A process that runs `capd tune` when it is told to."""

    def __init__(self, net: Namespace, state: Path, config: Path) -> None:
        self._log = state.parent / "log"
        self._program = net.popen(
            [
                *("env", f"STATE_DIRECTORY={state}", sys.executable),
                *("-m", "tests.support.tuning_child", str(config)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=CHECKOUT,
        )

    def run(self, word: str, how: str = "") -> tuple[int, Counter[str]]:
        """The exit code, and how many system calls there were; `how`: they go wrong."""
        pid = int(self._ask(word))
        if not how:
            return int(self._ask("go")), Counter()
        calls, _, how = how.rpartition(" ")
        with Faults(pid, calls or CALLS, how, self._log):
            code = int(self._ask("go"))
        return code, Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", self._log.read_text(), re.MULTILINE))

    def _ask(self, line: str) -> str:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(f"{line}\n")
        self._program.stdin.flush()
        return self._program.stdout.readline()


@pytest.fixture
def net() -> Iterator[Namespace]:
    need_namespaces()
    need("strace")
    with Namespace() as namespace:
        furnish(namespace)
        yield namespace


def test_killed_at_every_call(net: Namespace, tmp_path: Path) -> None:
    """Before the n-th call of each name, for every n, in both directions."""
    state, config = tmp_path / "state", tmp_path / "capd.toml"
    config.write_text(CONFIG)
    child = Child(net, state, config)
    before = settings(net)
    calls = {word: child.run(word, NOTHING)[1] for word in ("apply", "restore")}
    assert settings(net) == before
    seen: set[int] = set()
    deaths = 0
    for word, counts in calls.items():
        for name, count in counts.items():
            for number in range(1, count + 1):
                if word == "restore":
                    assert child.run("apply")[0] == 0
                code, _ = child.run(word, f"{name} signal=KILL:when={number}")
                deaths += code == -9
                seen.add(len(changes(before, settings(net))))
                assert child.run("restore")[0] == 0
                assert changes(before, settings(net)) == {}, (word, name, number)
                assert json.loads((state / FILE).read_text())["values"] == []
    print(f"{deaths} deaths among {calls}; values changed at one: {sorted(seen)}")
    assert deaths >= sum(counts.total() for counts in calls.values()) * 3 // 4
    assert len(seen) >= CHANGED // 2
    assert os.listdir(state) in ([FILE], [FILE, f"{FILE}.new"], [f"{FILE}.new", FILE])
