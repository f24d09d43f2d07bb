"""Workers on the processors that the config names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.net import Namespace
from tests.support.recorder import Recorder, write_config
from tests.support.wait import wait_for

INTERFACE = '[[interface]]\nname = "v0"\n'


def processors(pid: int) -> set[frozenset[int]]:
    """Those that its threads may run on."""
    tasks = [int(task) for task in os.listdir(f"/proc/{pid}/task")]
    return {frozenset(os.sched_getaffinity(task)) for task in tasks}


def test_cpus(net: Namespace, tmp_path: Path) -> None:
    """All threads of the worker, from the start on, after a reload, and back to any."""
    usable = frozenset(os.sched_getaffinity(0))
    if len(usable) < 2:
        pytest.skip("needs two processors")
    one, other, *_ = sorted(usable)
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0")
    plain = config.read_text()
    assert plain.endswith('name = "v0"\n')
    config.write_text(f"{plain}cpus = [{one}]\n")
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        worker = capd.worker()
        wait_for(lambda: processors(worker) == {frozenset({one})}, 10, "the first")
        wait_for(lambda: len(os.listdir(f"/proc/{worker}/task")) > 1, 10, "its other thread")
        assert processors(worker) == {frozenset({one})}
        config.write_text(f"{plain}cpus = [{other}, {other}]\n")
        answer = capd.order("reload")
        assert f"cpus {one} -> {other}" in answer.stdout
        wait_for(lambda: processors(worker) == {frozenset({other})}, 10, "the other")
        config.write_text(f"{plain}cpus = [8191]\n")
        capd.order("reload")
        capd.wait_line("WARNING +v0: cpus: this machine has no processor 8191")
        capd.wait_line(r"WARNING +v0: cannot run on the processors of cpus \(8191\): Invalid arg")
        config.write_text(plain)
        capd.order("reload")
        wait_for(lambda: processors(worker) == {usable}, 10, "any")
        assert capd.worker() == worker
        assert capd.stop() == 0
