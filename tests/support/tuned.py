"""An interface of each kind that can be tuned without hardware, and all its settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from capd.errors import TuningError
from capd.tuning import sysctl
from capd.tuning.nic import Nics
from tests.support.net import Namespace, inside
from tests.support.recorder import CAPD

VETH, TAP = "v0", "tap0"
GROUPS = ("ring", "coalesce", "channels", "offloads")
SYSCTLS = ("net.ipv4.tcp_rmem", "net.ipv4.conf.v0.rp_filter", "net.core.somaxconn")

Settings = dict[str, object]


def furnish(net: Namespace) -> None:
    """veth has channels and offloads, tap has coalescing and offloads; neither has a ring."""
    queues = ("numrxqueues", "4", "numtxqueues", "4")
    net.run(["ip", "link", "add", VETH, *queues, "type", "veth", "peer", "name", "v1"])
    net.run(["ip", "tuntap", "add", TAP, "mode", "tap"])
    for name in (VETH, "v1", TAP):
        net.set_link(name, "up")


def settings(net: Namespace) -> Settings:
    """All that could be changed, by what it is of."""
    with inside(net.name):
        found: Settings = {name: sysctl.read(name) for name in SYSCTLS}
    for name in (VETH, TAP):
        found |= nic_settings(net, name)
    return found


def nic_settings(net: Namespace, name: str) -> Settings:
    """All of an interface's; None for groups that its driver lacks."""
    found: Settings = {}
    with inside(net.name), Nics() as nics:
        for group in GROUPS:
            try:
                values = nics.read(group, name)
            except TuningError:
                found[f"{name} {group}"] = None
            else:
                found |= {f"{name} {group} {key}": value for key, value in values.items()}
    return found


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    """What is different, as it is now."""
    return {key: value for key, value in after.items() if before.get(key, "") != value}


def tune(net: Namespace, state: Path, *words: str) -> tuple[int, str, str]:
    """`capd tune`; its exit code, and what it said in both ways."""
    argv = ["env", f"STATE_DIRECTORY={state}", os.fspath(CAPD), "tune", *words]
    done = net.run(argv, check=False)
    return done.returncode, done.stdout, done.stderr
