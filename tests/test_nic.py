"""What interfaces count, while they come and go."""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from capd.daemon.ethtool import Ethtool
from capd.daemon.history import History
from capd.daemon.nic import STATISTICS, Nic
from tests.support.net import Namespace

pytestmark = pytest.mark.fault(53)


def inside(net: Namespace, *lines: str) -> str:
    """What this program prints in the namespace, which has a /sys of its own there."""
    program = "\n".join(
        [
            "from capd.daemon import nic as nics",
            "from concurrent.futures import ThreadPoolExecutor",
            "import socket, subprocess",
            "pool = ThreadPoolExecutor(1)",
            "Nic = lambda name, index: nics.Nic(name, index, pool)",
            *lines,
        ]
    )
    return net.run([sys.executable, "-c", program]).stdout


def test_interface_vanishes_and_comes_back(net: Namespace) -> None:
    """Between two looks: unknown, no exception; the new one under its name is another."""
    net.add_veth("v0", "v1")
    said = inside(
        net,
        "nic = Nic('v0', socket.if_nametoindex('v0'))",
        "nic.look(); pool.submit(int).result(); nic.look()",
        "print(nic.status.driver, nic.lost, sorted(nic.status.counters.items()))",
        "subprocess.run('ip link del v0'.split(), check=True)",
        "nic.look(); nic.look()",
        "print(nic.lost, set(nic.status.counters.values()))",
        "subprocess.run('ip link add v0 type veth peer v1'.split(), check=True)",
        "nic.look()",
        "print(set(nic.status.counters.values()))",
        "other = Nic('v0', nic.index)",
        "other.look()",
        "print(set(other.status.counters.values()))",
        "other = Nic('v0', socket.if_nametoindex('v0'))",
        "other.look()",
        "print(other.status.counters['rx_packets'])",
    ).splitlines()
    assert said[0].startswith("veth 0 [")
    names = [*STATISTICS, "ethtool:rx_queue_0_xdp_drops"]
    assert all(f"('{name}', 0)" in said[0] for name in names), said[0]
    assert said[1].endswith("{None}")
    assert said[2:] == ["{None}", "{None}", "0"]


def test_what_is_not_there() -> None:
    """No driver, no counters of its own; loopback has neither."""
    for name in ("lo", "no-such-one"):
        ethtool = Ethtool(name)
        assert (ethtool.driver(), ethtool.statistics()) == (None, [])
    with ThreadPoolExecutor(1) as asker:
        nic = Nic("no-such-one", 4711, asker)
        nic.look()
        assert (nic.lost, nic.status.driver) == (None, None)
        assert set(nic.status.counters.values()) == {None}
        nic.close()


def test_history_of_a_process_that_ends() -> None:
    """What is left of it is nothing, and no file stays open."""
    opened = len(os.listdir("/proc/self/fd"))
    history = History()
    pid = os.fork()
    if not pid:
        pair = socket.socketpair()  # both ends: where one is closed nothing is waited for
        pair[0].recv(1)
        os._exit(0)
    tick = history.take({"v0": pid}, {})
    assert tick.workers["v0"].state in {"R", "S"}
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    tick = history.take({"v0": pid}, {})
    assert (tick.workers["v0"].state, tick.workers["v0"].times) == ("", (0, 0))
    assert history.take({}, {}).workers == {}
    assert len(list(history.between(0, tick.at))) == 2
    history.close()
    assert len(os.listdir("/proc/self/fd")) == opened


@pytest.mark.parametrize("free", [0, 5])
def test_no_descriptor_is_left_at_first(net: Namespace, free: int) -> None:
    """It is watched from the look on for which there is one, whole, and nothing stays open."""
    net.add_veth("v0", "v1")
    said = inside(
        net,
        "import os, resource",
        "limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)",
        "index = socket.if_nametoindex('v0')",
        "nics.drivers.lookup(None)",  # or the daemon's whole look fails, and comes again
        f"lowest = os.dup(0); os.close(lowest); lowest += {free}",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, most))",
        "nic = Nic('v0', index)",
        "nic.look()",
        "print(set(nic.status.counters.values()))",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))",
        "print(len(os.listdir('/proc/self/fd')) - 1)",
        "nic.look(); pool.submit(int).result(); nic.look()",
        "print(nic.status.driver, nic.lost, set(nic.status.counters.values()))",
    )
    assert said == "{None}\n3\nveth 0 {0}\n"
