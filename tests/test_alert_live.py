"""From a loss to somebody who is told, in the foreground: one alert, one all-clear, one number."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from capd.config import load
from capd.errors import StorageError
from tests.support.frames import Shape, Stream
from tests.support.net import Namespace
from tests.support.programs import Program
from tests.support.recorder import Recorder, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

STREAM = Stream(Shape.fixed(700))
SMALL = 'ring_size = "4MiB"\nflush_interval = "20ms"\n'


def with_command(path: Path, program: Program, per: str = "3s") -> Path:
    """The config with an alert."""
    alert = f'[alert]\nper = "{per}"\ncommand = ["{program.path}"]\ntimeout = "5s"\n'
    path.write_text(alert + path.read_text())
    assert load(str(path)).alert.command
    return path


def drains(capd: Recorder) -> bool:
    """Whether the daemon knows that a worker drains its ring."""
    try:
        return [ring.phase for ring in capd.status().rings] == ["running"]
    except StorageError:  # it has written none yet
        return False


@pytest.mark.fault(54)
def test_one_alert_and_one_all_clear(net: Namespace, tmp_path: Path) -> None:
    """A burst: message, record, status and command have the same number."""
    program = Program(tmp_path)
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=SMALL)
    with_command(config, program)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        wait_for(lambda: drains(capd), 10, "the worker to have reported")
        os.kill(worker, signal.SIGSTOP)
        source.inject_at(20_000, 20_000)
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: program.runs, 20, "the alert")
        status = json.loads((Path(capd.runtime) / "status.json").read_text())
        assert [one["stage"] for one in status["alerts"]] == ["ring"]
        assert "alert: v0 lost " in capd.order("status").stdout
        wait_for(lambda: len(program.runs) == 2, 20, "the all-clear")
        trial = capd.order("alert", "--test", "--config", str(config))
        assert (trial.returncode, trial.stderr) == (0, "")
        assert trial.stdout == f"delivered by {program.path}\n"
        assert capd.stop() == 0
    lost = capd.summary("v0").dropped
    assert lost > 5_000
    alert, clear, tried = (run["facts"] for run in program.runs)
    assert (alert["CAPD_EVENT"], clear["CAPD_EVENT"], tried["CAPD_EVENT"]) == (
        ("alert", "all-clear", "test")
    )
    assert alert["CAPD_PACKETS"] == clear["CAPD_PACKETS"] == str(lost)
    assert (alert["CAPD_INTERFACE"], alert["CAPD_STAGE"]) == ("v0", "ring")
    assert "its worker was stopped" in alert["CAPD_CAUSE"]
    assert alert["CAPD_CHANGE"].startswith("ring_size = ")
    assert f"v0: alert: lost {lost:,} packets at the ring" in program.runs[0]["text"]
    said = "\n".join(capd.lines)
    told = re.findall(r"(ERROR|WARNING) +v0: (lost|alert|all clear)", said)
    assert told == [("WARNING", "lost"), ("ERROR", "alert"), ("WARNING", "all clear")]


def test_the_last_alert(net: Namespace, tmp_path: Path) -> None:
    """Of a loss a moment before the end: told, and its command run, before the daemon is gone."""
    program = Program(tmp_path)
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=SMALL)
    with_command(config, program)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        wait_for(lambda: drains(capd), 10, "the worker to have reported")
        worker = capd.worker()
        os.kill(worker, signal.SIGSTOP)
        source.inject(20_000)
        os.kill(worker, signal.SIGCONT)
        assert capd.stop() == 0
        (run,) = program.runs
        assert run["facts"]["CAPD_EVENT"] == "alert"
        assert int(run["facts"]["CAPD_PACKETS"]) == capd.summary("v0").dropped > 5_000
        assert os.listdir(f"{capd.runtime}/events") == []


@pytest.mark.fault(54)
def test_alert_that_fails(net: Namespace, tmp_path: Path) -> None:
    """`capd alert --test` says so, and what the program said; also where there is none."""
    program = Program(tmp_path, "print('no such user'); sys.exit(3)")
    net.add_veth("v0", "v1")
    plain = write_config(tmp_path / "capd.toml", tmp_path, "v0")
    trial = Recorder.order
    with Recorder(net, plain) as capd:
        capd.wait_capturing("v0")
        none = trial(capd, "alert", "--test", "--config", str(plain))
        assert none.returncode == 2
        assert "alert.command: is not set: nobody would be told" in none.stderr
        with_command(plain, program)
        assert "alert.command: " in capd.order("reload").stdout
        failed = trial(capd, "alert", "--test", "--config", str(plain))
        assert failed.returncode == 1
        assert failed.stdout == f"not delivered: {program.path}: status 3\nno such user\n"
        assert capd.stop() == 0
    gone = trial(capd, "alert", "--test", "--config", str(plain))
    assert gone.returncode == 1
    assert "capd does not run" in gone.stderr
