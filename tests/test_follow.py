"""`capd extract --follow`: from what is stored into what is recorded now, each packet once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from capd.capture.worker import REPORT_EVERY
from capd.config import Capture
from capd.daemon.service import HEARD
from capd.messages import Counters
from capd.query.edge import LOOK_EVERY, MARGIN, PATIENCE, Edge
from capd.query.sources import Sources, Wanted
from capd.status import RingStatus, Status, write
from capd.units import SECOND
from tests.support import judge
from tests.support.command import running
from tests.support.extracting import at, expected, make, plain, put, stream
from tests.support.frames import Shape, Stream
from tests.support.load import steady
from tests.support.machine import CAPTURES, PATH, Machine
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.service import is_active, main_pid, workers
from tests.support.traffic import START
from tests.support.wait import wait_for

LARGE = Stream(Shape.fixed(1400))
RATE = 20_000
FAST = '[capture]\nring_size = "256MiB"\nrotate_size = "8MiB"\nflush_interval = "100ms"\n'


def told(process: subprocess.Popen[str]) -> str:
    """What it says once Ctrl-C has ended it."""
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=30)
    return complaints


@pytest.mark.fault(46)
def test_rotations_restarts_and_kills(machine: Machine, interface: tuple[str, int]) -> None:
    """20 rotations, the daemon restarted and killed, and its worker, too."""
    name, index = interface
    machine.write_config(
        f'[storage]\ndirectory = "{CAPTURES}"\n{FAST}[[interface]]\nname = "{name}"\n'
    )
    machine.systemctl("start", "capd")
    inside = ["nsenter", "-t", str(machine.pid), "-a", "--"]
    words = ["capd", "extract", "--follow", "--since", "1h", "--interface", name]
    made = machine.captures.with_name("followed.pcapng")
    with steady(machine.name, index, LARGE, RATE) as source:
        wait_for(lambda: len(segments(machine.captures, name)) > 2, 20, "stored segments")
        with made.open("wb") as file:
            process = subprocess.Popen(
                [*inside, *words],
                env={"PATH": PATH},
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            )
        wait_for(lambda: made.stat().st_size > 10**6, 20, "packets")
        before = len(segments(machine.captures, name))
        machine.systemctl("restart", "capd")
        os.kill(main_pid(machine), signal.SIGKILL)
        wait_for(lambda: machine.property("NRestarts") == "1", 20, "its restart")
        wait_for(lambda: is_active(machine) and workers(machine), 20, "the service")
        os.kill(workers(machine)[0], signal.SIGKILL)
        done = before + 20
        wait_for(lambda: len(segments(machine.captures, name)) > done, 60, "20 rotations")
    (extracting,) = (
        int(pid)
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    )
    os.kill(extracting, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    print(said)  # what it complained of, where the next line fails
    judge.check_numbers([made], LARGE, source.sent)
    judge.assert_clean(made)
    assert f"\n{source.sent:,} packets out of" in said


def test_a_quiet_link_holds_up_nobody(net: Namespace, tmp_path: Path) -> None:
    """What comes last is given, on one of two links; and --until now waits for the ring."""
    index = net.add_veth("v0", "p0")
    net.add_veth("w0", "q0")
    folder = tmp_path / "captures"
    folder.mkdir()
    config = write_config(tmp_path / "capd.toml", folder, "v0", "w0")
    made = tmp_path / "out.pcapng"
    words = ["extract", "--config", str(config), "-o", str(made)]
    with Recorder(net, config) as recorder:
        recorder.wait_capturing("v0", "w0")
        since = at(time.time_ns())  # before the first packet
        with running([*words, "--follow"], recorder.runtime) as process:
            wait_for(made.exists, 20, "the file")
            with steady(net.name, index, LARGE, 1000) as source:
                wait_for(lambda: source.sent >= 1000, 20, "frames")
            sent, began = source.sent, time.monotonic()
            wait_for(lambda: made.stat().st_size > sent * 1432, 20, "the last of them")
            print(f"{time.monotonic() - began:.2f} s behind")
            said = told(process)
        assert process.returncode == 0, said
        assert said.endswith("\ncomplete\n")
        judge.check_numbers([made], LARGE, sent)
        with steady(net.name, index, LARGE, 1000) as source:
            wait_for(lambda: source.sent >= 300, 20, "frames")
        done = recorder.order(*words, "--since", since)
        assert done.returncode == 0, done.stderr
        assert len(list(judge.packets(made))) == sent + source.sent
        end = at(time.time_ns() + SECOND)
        words += ["--follow", "--since", since, "--until", end]
        assert recorder.order(*words).returncode == 0
        assert len(list(judge.packets(made))) == sent + source.sent


def test_how_far_behind_it_may_be() -> None:
    """As DESIGN.md has it: a beat of reports, the status behind it, a look, and the kernel."""
    waits = REPORT_EVERY + int((HEARD + LOOK_EVERY) * SECOND) + MARGIN
    assert waits == 1.2 * SECOND
    assert Capture().flush_interval + waits < 2 * SECOND


RING = RingStatus(
    *("v0", "v0", "up", "running", 1, "", 0, "/captures", 2**20, 0.0, 7, 4000, 0, 0, None),
    *(0.0, 0.0, Counters()),
)


def edge_of(path: Path, *rings: RingStatus, age: int = 0, state: str = "running") -> Edge:
    now = time.time_ns() - age
    write(str(path), Status("1", 1, "", 0, now, state, None, list(rings)))
    return Edge(str(path), "/captures", 2**62)


def test_a_file_that_was_made_since_the_status_is_not_finished(tmp_path: Path) -> None:
    """Of a worker that had no file yet, or a ring that was not there yet."""
    put(tmp_path, "v0", 7, stream(0, 0), "open")
    path, now = tmp_path / "status.json", time.time_ns()
    earlier = replace(RING, segment=None, segment_bytes=0, reported_at=now - SECOND)
    with Sources(Wanted((str(tmp_path),), 0, 2**62)) as sources:
        held = sources.hold_part("v0", 7)
        assert held is not None
        later = replace(earlier, reported_at=time.time_ns())
        unclear = edge_of(path, earlier)
        assert (unclear.settled(held), unclear.bound("v0")) == (0, 0)
        assert edge_of(path, later).settled(held) is None
        assert edge_of(path, replace(later, segment=7, segment_bytes=99)).settled(held) == 99
        assert edge_of(path, replace(earlier, segment=8)).settled(held) is None
        assert edge_of(path, age=SECOND).settled(held) == 0
        assert edge_of(path).settled(held) is None


def test_an_open_segment_that_nobody_told_of_yet_is_read_however_old(tmp_path: Path) -> None:
    """A worker was killed, or its interface taken out of the config; `--until` is long ago."""
    captures, status, made = make(tmp_path), tmp_path / "status.json", tmp_path / "out.pcapng"
    other = replace(RING, ring="x0", directory=str(captures), reported_at=time.time_ns())
    words = ("--config", str(tmp_path / "capd.toml"), "--since", at(START), "--until", "1h")
    edge_of(status, other)
    with running(["extract", *words, "-o", str(made)], tmp_path) as process:
        while process.poll() is None:
            time.sleep(0.2)  # a beat of the status
            edge_of(status, other)
        assert process.returncode == 0
    assert plain(judge.packets(made)) == expected()


def test_until_when_nothing_is_missing(tmp_path: Path) -> None:
    """As its worker says, if all that waited is written; else nobody waits for it for ever."""
    path, now = tmp_path / "status.json", time.time_ns()
    ring = replace(RING, reported_at=now, flush_interval=SECOND)
    assert edge_of(path, ring).bound("v0") == now - SECOND - MARGIN
    other = replace(ring, reported_at=now - SECOND)  # the ring that it succeeds
    assert edge_of(path, ring, other).bound("v0") == now - 2 * SECOND - MARGIN
    for held_up in (replace(ring, filled=0.1), replace(ring, phase="starting")):
        assert now <= edge_of(path, held_up).bound("v0") + PATIENCE <= time.time_ns()
    assert edge_of(path, ring).bound("gone") > now
    for silent in (edge_of(path, ring, age=9 * SECOND), edge_of(path, ring, state="starting")):
        assert not silent.is_told
        assert now <= silent.bound("v0") + PATIENCE <= time.time_ns()


def test_what_is_known_is_of_the_last_look(tmp_path: Path) -> None:
    """However long it takes to read what was there: nothing is known of what came since."""
    held_up = replace(RING, reported_at=time.time_ns(), filled=0.1)
    for edge in (edge_of(tmp_path / "status", held_up), Edge(str(tmp_path / "none"), "/", 2**62)):
        known = edge.bound("v0")
        assert edge.bound("v0") == known
        edge.look()
        assert edge.bound("v0") > known


@pytest.mark.parametrize(
    ("segment", "settled"), [(7, 4000), (8, None), (6, 0), (None, None)], ids=str
)
def test_what_of_a_segment_is_settled(
    tmp_path: Path, segment: int | None, settled: int | None
) -> None:
    """Number 7: being written, finished under its old name, not begun, given up."""
    part = put(tmp_path / "c", "v0", 7, stream(0, 0), "open")
    ring = replace(RING, segment=segment, directory=str(tmp_path / "c"))
    with Sources(Wanted((str(tmp_path / "c"),), 0, 2**62)) as sources:
        ((held,),) = sources.hold().values()
        now = time.time_ns()
        status = Status("1", 1, "", 0, now, "running", None, [replace(ring, reported_at=now)])
        write(str(tmp_path / "status.json"), status)
        edge = Edge(str(tmp_path / "status.json"), str(tmp_path / "c"), 2**62)
        assert edge.settled(held) == settled
        part.rename(part.with_name("renamed"))
        assert edge.settled(held) is None


def test_what_is_empty_is_not_held(tmp_path: Path) -> None:
    """Its number may yet be another file's; and then that is read."""
    empty = put(tmp_path, "v0", 1, stream(0, 0)[:1], "open")
    whole = empty.read_bytes()
    empty.write_bytes(whole[:200])  # the head, and padding that goes on
    with Sources(Wanted((str(tmp_path),), 0, 2**62)) as sources:
        assert sources.hold() == {}
        assert sources.hold_part("v0", 1) is None
        empty.unlink()
        empty.write_bytes(whole)
        assert sources.hold_part("v0", 1) is not None
        assert sources.vanished == []
