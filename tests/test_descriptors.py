"""Few descriptors: the daemon takes as many as it may have, and says which rings it cannot have."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from capd.daemon.history import History
from capd.daemon.life import Delays, Phase
from capd.daemon.nic import Nic
from capd.daemon.ringplan import RingPlan
from capd.daemon.rings import Rings
from capd.descriptors import FOR_WORKERS, open_to_measure
from tests.support.disk import Faults
from tests.support.frames import IMIX, Stream
from tests.support.ledger import check_ledger
from tests.support.need import need
from tests.support.net import Namespace, inside
from tests.support.recorder import Recorder, write_config
from tests.support.rings import SMALL
from tests.support.wait import until, wait_for
from tests.support.workers import SHAPE, wanted
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
    """No more rings are opened than can be drained, if one by one; which ones are not is told."""
    config = many_rings(net, tmp_path)
    with Recorder(net, config, ("prlimit", "--nofile=40:40")) as capd:
        capd.wait_line("capd records [0-9]+ interface")
        capd.wait_line("WARNING v11: cannot capture: cannot keep a ring for v11: Too many open")
        wait_for(capd.workers, 20, "a worker")
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


def test_what_only_measures_takes_none_of_the_last() -> None:
    """Those are for workers; what it cannot have now leaves nothing open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    asker = ThreadPoolExecutor(1)
    os.close(lowest := os.open("/dev/null", os.O_RDONLY))
    before = os.listdir("/proc/self/fd")
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + FOR_WORKERS, limit[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            open_to_measure("/proc/stat")
        assert History().softnet() == b""
        assert Nic("lo", 1, asker).read("rx_packets") is None
        assert os.listdir("/proc/self/fd") == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        asker.shutdown()
    with contextlib.closing(History()) as history:
        assert history.softnet()


def test_a_worker_for_which_there_is_no_room(
    net: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried for as soon as another ring has gone, however long it was to wait."""
    indices = net.add_veth("v0", "v1"), net.add_veth("w0", "w1")
    slow = Delays(first_backoff=600.0, most_backoff=600.0)
    monkeypatch.setattr("capd.daemon.recording.DELAYS", slow)

    async def run() -> Rings:
        rings = Rings()
        await rings.apply(wanted(tmp_path, indices[0], SHAPE), {})
        await until(lambda: rings.current["v0"].phase is Phase.RUNNING)
        both = wanted(tmp_path, indices[0], SHAPE) | wanted(tmp_path, indices[1], SHAPE, "w0")
        with monkeypatch.context() as nothing:
            nothing.setattr("sys.executable", str(tmp_path / "none"))
            assert not (await rings.apply(both, {})).refused
            await until(lambda: rings.current["w0"].phase is Phase.BACKING_OFF)
        await rings.apply(wanted(tmp_path, indices[1], SHAPE, "w0"), {})
        await until(lambda: rings.current["w0"].phase is Phase.RUNNING)
        rings.finish()
        await rings.ended()
        return rings

    with inside(net.name):
        assert asyncio.run(run()).lost == []


def test_where_no_worker_can_be_had(
    net: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring that is given up gives no other one hope: together they take no longer than one."""
    hopeless = Delays(first_backoff=1.0, most_backoff=1.0, spawns=3)
    for delays in ("DELAYS", "LAST_DELAYS"):
        monkeypatch.setattr(f"capd.daemon.recording.{delays}", hopeless)
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    plans: dict[str, RingPlan] = {}
    for name in (f"r{number}" for number in range(20)):
        plans |= wanted(tmp_path, net.add_veth(name, f"{name}p"), SMALL, name)

    async def run() -> Rings:
        rings = Rings()
        assert not (await rings.apply(plans, {})).refused
        rings.finish()
        async with asyncio.timeout(6):  # 2 s; 11 if each had the others begin anew
            await rings.ended()
        return rings

    with inside(net.name):
        assert len(asyncio.run(run()).lost) == len(plans)
