"""Few descriptors: the daemon takes as many as it may have, and says which rings it cannot have."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.support.disk import Faults
from tests.support.frames import IMIX, Stream
from tests.support.ledger import check_ledger
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

STREAM = Stream(IMIX)
COUNT = 2000  # frames
RINGS = [f"v{number}" for number in range(12)]
CAPTURE = 'ring_size = "4MiB"'


def many_rings(net: Namespace, tmp_path: Path) -> Path:
    """A config that records RINGS, which are there."""
    for ring in RINGS:
        net.add_veth(ring, f"{ring}p")
    return write_config(tmp_path / "capd.toml", tmp_path, *RINGS, capture=CAPTURE)


@pytest.mark.fault(39)
def test_a_low_limit_is_raised(net: Namespace, tmp_path: Path) -> None:
    """As a shell has it: more are allowed, and nobody has asked for them."""
    config = many_rings(net, tmp_path)
    with Recorder(net, config, ("prlimit", "--nofile=40:4096")) as capd:
        capd.wait_capturing(*RINGS)
        wait_for(lambda: len(capd.workers()) == len(RINGS), 20, "a worker for each ring")
        assert capd.stop() == 0
    assert not [line for line in capd.lines if " ERROR " in line]


@pytest.mark.fault(39)
def test_too_few_descriptors_for_all_rings(net: Namespace, tmp_path: Path) -> None:
    """Each ring that nobody drains is told at once; at the end they are drained one by one."""
    config = many_rings(net, tmp_path)
    with Recorder(net, config, ("prlimit", "--nofile=40:40")) as capd:
        capd.wait_line("capd records [0-9]+ interface")
        capd.wait_line("ERROR .*cannot start capd.capture: Too many open files")
        assert capd.stop() == 0
    captured = {line.split()[3] for line in capd.lines if ": capturing " in line}
    assert len([line for line in capd.lines if ": received " in line]) == len(captured) > 1
    assert "Traceback" not in str(capd.lines)


@pytest.mark.fault(39)
@pytest.mark.parametrize("call", ["memfd_create", "ftruncate"])
def test_a_ring_that_cannot_be_kept(net: Namespace, tmp_path: Path, call: str) -> None:
    """It is opened later; the others go on, and nothing of it stays open."""
    need("strace")
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", "w0", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        wait_for(lambda: capd.status().nics, 20, "the daemon's first look at everything")
        with Faults(capd.pid, call, "error=EMFILE", tmp_path / "log", only=capd.pid) as faults:
            before = opened(capd.pid)
            net.add_veth("w0", "w1")
            capd.wait_line("WARNING w0: cannot capture: cannot keep a ring for w0: Too many open")
            wait_for(lambda: len(faults.injected) > 1, 20, "another try")
            source.inject(COUNT)
            wait_for(lambda: opened(capd.pid) == before, 20, "nothing more to be open")
        capd.wait_capturing("w0")
        assert capd.stop() == 0
    assert check_ledger(capd, tmp_path, "v0", STREAM, COUNT).lost == 0


def opened(pid: int) -> dict[str, int]:
    """How many descriptors a process has of each kind of which a ring has one."""
    found = {"socket": 0, "memfd": 0}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was open for a moment
            kind = os.readlink(path).lstrip("/").partition(":")[0]
            found[kind] = found.get(kind, 0) + 1
    return {kind: found[kind] for kind in ("socket", "memfd")}
