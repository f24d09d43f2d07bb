"""capd-tune.service in a real systemd: applied, reloaded, stopped, and killed in the middle."""

from __future__ import annotations

import re

from tests.support.machine import Machine
from tests.support.need import need
from tests.support.tuned import changes, furnish, settings

UNIT = "/usr/lib/systemd/system/capd-tune.service"
CONFIG = """
[tuning]
sysctl = { "net.core.somaxconn" = 77 }
[[interface]]
name = "v0"
tuning = { channels = { rx = 2 }, offloads = { tx-nocache-copy = true } }
[[interface]]
name = "tap0"
tuning = { ring = "max", coalesce = { rx_frames = 16 } }
"""
SET = {
    "net.core.somaxconn": "77",
    "v0 channels rx": 2,
    "v0 offloads tx-nocache-copy": 1,
    "tap0 coalesce rx_frames": 16,
}
KILLED = """
[Service]
ExecStart=
ExecStart=/bin/sh -c '/usr/bin/capd tune apply; kill -KILL $$$$'
"""


def test_the_service(machine: Machine) -> None:
    """In one go, because a boot costs more than all of it."""
    need("ethtool")
    done = machine.run("systemd-analyze", "verify", UNIT)
    assert (done.stdout, done.stderr) == ("", "")
    done = machine.run(
        "systemd-analyze", "security", "--no-pager", "capd-tune.service", check=False
    )
    found = re.search(r"Overall exposure level for capd-tune.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= 1.6
    assert "capd.service" in machine.property("Before", "capd-tune").split()

    furnish(machine.net)
    before = settings(machine.net)
    machine.write_config(CONFIG)
    machine.systemctl("start", "capd-tune")
    assert changes(before, settings(machine.net)) == SET
    said = [str(one["MESSAGE"]) for one in machine.journal("capd-tune")]
    assert any(line.startswith("incomplete: cannot set tap0 ring rx: ") for line in said)
    assert machine.property("ActiveState", "capd-tune") == "active"

    machine.write_config("[tuning]\nrings = 5\n" + CONFIG)
    assert machine.run("systemctl", "reload", "capd-tune", check=False).returncode == 1
    assert changes(before, settings(machine.net)) == SET
    assert machine.property("ActiveState", "capd-tune") == "active"
    machine.write_config(CONFIG.replace("rx_frames = 16", "rx_frames = 32").replace("77", "78"))
    machine.systemctl("reload", "capd-tune")
    assert changes(before, settings(machine.net)) == SET | {
        "net.core.somaxconn": "78",
        "tap0 coalesce rx_frames": 32,
    }
    machine.systemctl("stop", "capd-tune")
    assert settings(machine.net) == before
    told = len(list(machine.journal("capd-tune")))

    machine.write_unit("capd-tune.service.d/killed.conf", KILLED)
    assert machine.run("systemctl", "start", "capd-tune", check=False).returncode == 1
    machine.sync()
    said = [str(one["MESSAGE"]) for one in machine.journal("capd-tune")]
    assert "tap0 coalesce rx_frames: 32 -> 0" in said[told:]
    assert settings(machine.net) == before
