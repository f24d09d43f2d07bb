"""From a finished segment to the [hook] command, in the foreground: each one, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from capd.catalog import Catalog, everything
from capd.names import HANDED_FILE
from capd.status import HookStatus
from tests.support.frames import Shape, Stream
from tests.support.net import Namespace
from tests.support.programs import Program, quoted
from tests.support.recorder import CAPD, Recorder, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

STREAM = Stream(Shape.fixed(200))
QUICK = 'ring_size = "16MiB"\nflush_interval = "100ms"\nrotate_interval = "1s"\n'
RATE = 2000


def configured(path: Path, program: Program, more: str = "") -> Path:
    """A config with this hook, beside the directory `captures`."""
    captures = path.parent / "captures"
    captures.mkdir(exist_ok=True)
    write_config(path, captures, "v0", capture=QUICK)
    path.write_text(f"[hook]\nsegment_closed = {quoted(program.path)}\n{more}{path.read_text()}")
    return path


def numbers(program: Program) -> list[int]:
    """Of the segments that it was run for."""
    return [int(run["facts"]["CAPD_NUMBER"]) for run in program.runs]


def finished(directory: Path) -> list[int]:
    """The numbers of the segments that are there."""
    return [segment.seq for segment in everything(Catalog(str(directory)).scan())]


def hook(capd: Recorder) -> HookStatus:
    """How the daemon says that it goes."""
    found = capd.status().hook
    assert found is not None
    return found


def begins(capd: Recorder) -> None:
    capd.wait_capturing("v0")
    wait_for(lambda: os.path.exists(f"{capd.runtime}/status.json"), 20, "a status")
    wait_for(lambda: capd.status().hook is not None, 20, "the hook")


def test_each_finished_segment(net: Namespace, tmp_path: Path) -> None:
    """Once, in order, with its facts; the last of a run in the next one; a new hook begins now."""
    program = Program(tmp_path)
    index = net.add_veth("v0", "v1")
    captures = tmp_path / "captures"
    plain = tmp_path / "capd.toml"
    captures.mkdir()
    write_config(plain, captures, "v0", capture=QUICK)
    with Recorder(net, plain) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(RATE, RATE)
        wait_for(lambda: finished(captures), 20, "a segment before there is a hook")
        configured(plain, program)
        assert "hook.segment_closed: " in capd.reload()
        capd.wait_line("INFO +the .hook. command is run for segments that are finished from now on")
        wait_for((captures / HANDED_FILE).exists, 10, "the file, which comes after that")
        ((_, old),) = json.loads((captures / HANDED_FILE).read_text())["rings"]["v0"]
        source.inject_at(2 * RATE, RATE)
        wait_for(lambda: len(program.runs) >= 2, 30, "two segments")
        assert capd.stop() == 0
    with Recorder(net, plain) as capd:
        begins(capd)
        every = finished(captures)
        wait_for(lambda: every[-1] in numbers(program), 30, "the last")
        wait_for(lambda: hook(capd).waiting == 0, 20, "the answer")
        assert capd.stop() == 0
    assert numbers(program) == [seq for seq in every if seq > old], "once each, in order"
    packets = [expect_true(run["facts"], captures) for run in program.runs]
    assert 2 * RATE >= sum(packets) > RATE


def expect_true(facts: dict[str, str], captures: Path) -> int:
    """What it was told of a segment; how many packets it has."""
    path = Path(facts["CAPD_PATH"])
    assert path.parent.parent == captures / "v0"
    assert path.stat().st_size == int(facts["CAPD_SIZE"])
    assert (facts["CAPD_EVENT"], facts["CAPD_RING"]) == ("segment-closed", "v0")
    assert facts["CAPD_INTERFACE"] == "v0"
    assert facts["CAPD_FIRST"] <= facts["CAPD_LAST"]
    return int(facts["CAPD_PACKETS"])


def test_what_goes_while_nothing_else_happens(net: Namespace, tmp_path: Path) -> None:
    """Where one look has missed it the next ones come soon, and it is told after them."""
    program = Program(tmp_path, "time.sleep(100)")
    index = net.add_veth("v0", "v1")
    second = tmp_path / "second"
    second.mkdir()
    archive = f'[archive]\ndirectory = "{second}"\n'
    config = configured(tmp_path / "capd.toml", program, archive)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        begins(capd)
        source.inject_at(RATE, 5 * RATE)
        wait_for(lambda: len(finished(second)) > 2, 30, "segments that have moved")
        wait_for(lambda: hook(capd).waiting > 2, 20, "them to wait")
        wait_for(lambda: len(finished(tmp_path / "captures")) == 1, 20, "the newest to be left")
        victim = finished(second)[1]  # for the first it is run
        for path in second.glob(f"v0/*/*_{victim:010}.*"):
            path.unlink()
        span = ("--since", "2020-01-01", "--until", "2020-01-02", "--reason", "a look at both")
        subprocess.run([CAPD, "hold", "--config", str(config), *span], check=True)
        capd.wait_line(f"segment {victim} is gone, and the .hook. command was not done for it", 15)


@pytest.mark.fault(49)
def test_whatever_dies(net: Namespace, tmp_path: Path) -> None:
    """Daemon, `capd exec` and command at once, in the middle: the segment is handed over again.

    Under its final name, which is that of the compressed one here; one that fails is run again.
    """
    flag = tmp_path / "flag"
    code = f"while not os.path.exists({str(flag)!r}): time.sleep(0.05)\n"
    code += f"sys.exit(len(open({str(tmp_path / 'notes')!r}).readlines()) == 2)"
    program = Program(tmp_path, code)
    index = net.add_veth("v0", "v1")
    config = configured(tmp_path / "capd.toml", program, "[compression]\nenabled = true\n")
    captures = tmp_path / "captures"
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        begins(capd)
        source.inject_at(2 * RATE, RATE)
        wait_for(lambda: program.runs, 60, "the command")
        assert hook(capd).done == 0
        for one in (psutil.Process(capd.pid), *psutil.Process(capd.pid).children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # one that ends with the daemon
                one.send_signal(signal.SIGKILL)
        capd.wait()
    flag.touch()
    with Recorder(net, config) as capd:
        begins(capd)
        said = capd.wait_line("ERROR +v0: the \\[hook\\] command failed for segment 1: ")
        assert f"{program.path}: status 1; try 1, the next in 2 s or later" in said
        capd.wait_line("INFO +the \\[hook\\] command works again")
        whole = finished(captures)
        wait_for(lambda: set(numbers(program)) >= set(whole), 60, f"all of {whole}")
        wait_for(lambda: hook(capd).waiting == 0, 20, "the answer")
        assert (hook(capd).failed, hook(capd).given_up, hook(capd).missed) == (1, 0, 0)
        assert capd.stop() == 0
    assert numbers(program)[:3] == [1, 1, 1], "killed, failed, done"
    paths: list[dict[str, Any]] = [run["facts"] for run in program.runs]
    assert all(facts["CAPD_PATH"].endswith(".pcapng.zst") for facts in paths)
    assert (captures / HANDED_FILE).exists()
