"""The two commands of a new user, on a Debian 12 and 13 that has nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support import clones, judge
from tests.support.frames import Shape, Stream
from tests.support.machine import Machine
from tests.support.need import need, need_frame_source
from tests.support.recorder import segments
from tests.support.roots import BARE
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

COUNT = 5000


@pytest.fixture(scope="module", params=BARE, ids=lambda system: system.value)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """It, with a clone that was set up there, and from now on without the world around it."""
    need_frame_source()
    need("debootstrap", "systemd-nspawn", "tcpdump", "tshark", "capinfos", "git")
    with Machine(request.param, clones.set_up(request.param)) as booted:
        clones.refresh(booted.root)
        yield booted


def test_quickstart(machine: Machine) -> None:
    """It finds all set up, and records what comes over the default route."""
    stream = Stream(Shape.fixed(200))
    index = machine.add_veth("v0", "v1")
    machine.net.run(["ip", "route", "add", "default", "dev", "v0"])
    folder = machine.root / "root"
    machine.run(
        *("systemd-run", "--unit=quickstart", "--working-directory=/root", "--remain-after-exit"),
        *("--property=StandardOutput=file:/root/out", "--property=StandardError=file:/root/err"),
        *(f"{clones.PLACE}/packaging/quickstart", "--seconds", "6"),
    )

    def said() -> str:
        path = folder / "err"
        return path.read_text() if path.exists() else ""

    wait_for(lambda: "v0: capturing everything" in said(), 30, "the capture")
    with FrameSource(stream, index, machine.name) as source:
        source.inject_at(20_000, COUNT)
    wait_for(lambda: machine.property("SubState", "quickstart") == "exited", 30, "its end")
    output = (folder / "out").read_text()
    assert "packaging/setup" not in output  # nothing was left to be done
    (path,) = segments(folder / "captures", "v0")
    assert re.search(r"Recorded into /root/captures:\n  /root/captures/v0/\S+", output)
    assert f"v0: received {COUNT:,}, written {COUNT:,}, dropped 0 " in said()
    judge.check_numbers([path], stream, COUNT)
    judge.assert_clean(path)
