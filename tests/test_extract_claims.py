"""What `capd extract` says is missing of its answer, and that it says nothing else."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from capd.messages import Counters
from capd.query.searches import WINDOW
from capd.status import RingStatus, Status, write
from capd.units import SECOND, format_time
from tests.support.command import running
from tests.support.extracting import at, config, frame, make, put, run, stream
from tests.support.traffic import START


def lacking(code: int, told: str) -> list[str]:
    """What is said to be missing."""
    said = told.splitlines()
    found = [line.removeprefix("incomplete: ") for line in said if line.startswith("incomplete: ")]
    assert (code, "complete" in said) == ((3, False) if found else (0, True)), said
    return found


class Daemon:
    """The status file of one that records v0, told anew while `capd extract` runs beside it."""

    def __init__(self, folder: Path) -> None:
        self.captures = folder / "captures"
        self.captures.mkdir()
        config(self.captures)
        self._runtime = folder / "run"
        self._runtime.mkdir()
        self.heard_at = 0  # of its worker, ns since 1970; 0: all the time
        self.drains_at = math.inf  # by the monotonic clock
        now = time.time_ns()
        self.ring = RingStatus(
            *("v0", "v0", "up", "running", 1, "", 0, str(self.captures), 2**20, 0.0, 1, 2**20),
            *(now - 3600 * SECOND, 0, None, 0.0, 0.0, Counters()),
        )
        self.status = Status("1", 1, "", 0, now, "running", None, [self.ring])

    def _tell(self) -> None:
        now = time.time_ns()
        told = self.heard_at or now
        if time.monotonic() > self.drains_at:
            self.status.rings[0] = self.ring
        rings = [replace(ring, reported_at=told) for ring in self.status.rings]
        status = replace(self.status, written_at=now, rings=rings)
        write(str(self._runtime / "status.json"), status)

    def lacking(self, *words: str, verb: str = "extract") -> list[str]:
        """What an answer is said to lack."""
        argv = [verb, "--config", str(self.captures.parent / "capd.toml"), *words]
        self._tell()
        with running(argv, self._runtime, subprocess.DEVNULL) as process:
            while process.poll() is None:
                time.sleep(0.2)  # a beat of the status
                self._tell()
            assert process.stderr is not None
            return lacking(process.returncode, process.stderr.read())


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """It has recorded v0 for an hour."""
    return Daemon(tmp_path)


def packets(*ages: int) -> Sequence[tuple[int, bytes]]:
    """One for each of so many seconds ago."""
    now = time.time_ns()
    return [(now - age * SECOND, frame(number)) for number, age in enumerate(ages)]


def lacking_of(captures: Path, *words: str) -> list[str]:
    """The same, of what nobody records any more."""
    done = run(captures, "-o", "/dev/null", *words)
    return lacking(done.returncode, done.stderr.decode())


def test_an_interface_that_nobody_recorded(tmp_path: Path) -> None:
    """A typo is no complete answer."""
    captures = make(tmp_path)
    told = lacking_of(captures, "--interface", "vo0", "--interface", "w0")
    assert told == ["vo0: no segment is there"]


def test_an_open_segment_is_where_a_ring_begins(tmp_path: Path) -> None:
    """Of what comes before its first packet nothing is known."""
    captures = tmp_path / "captures"
    config(captures)
    put(captures, "v0", 1, stream(0, 0), "open")
    assert lacking_of(captures) == []
    before = lacking_of(captures, "--since", at(START - 1000 * SECOND))
    assert before == [f"v0: nothing is kept from before {format_time(START)}"]


def test_what_a_ring_is_known_to_have_had_from_its_beginning_on(daemon: Daemon) -> None:
    """A quiet link: what was recorded all the time and gave nothing is no hole."""
    assert daemon.lacking("--since", "30m", "--until", "1m", "--interface", "v0") == []
    put(daemon.captures, "v0", 1, packets(900, 800), "open")
    assert daemon.lacking("--since", "30m", "--until", "1m") == []
    (told,) = daemon.lacking("--since", "2h", "--until", "1m")
    assert told == f"v0: nothing is kept from before {format_time(daemon.ring.since)}"
    (daemon.captures / "v0" / "0000000001.pcapng.part").unlink()
    put(daemon.captures, "v0", 2, packets(900, 800), "open")  # the first was deleted
    (told,) = daemon.lacking("--since", "30m", "--until", "1m")
    assert told.startswith("v0: nothing is kept from before ")


@pytest.mark.parametrize("trouble", ["disk", "worker", "daemon"])
def test_what_a_ring_may_still_hold(daemon: Daemon, trouble: str) -> None:
    """A disk that refuses, a worker that hangs, or that was not heard of yet."""
    given = packets(100, 90)
    put(daemon.captures, "v0", 1, given, "open")
    if trouble == "disk":
        daemon.status.rings[0] = replace(daemon.ring, filled=0.2)
    else:
        daemon.heard_at = time.time_ns() - 300 * SECOND if trouble == "worker" else 1
    known = given[-1][0] - WINDOW
    told = f"v0: packets from {format_time(known)} on may still be in the ring"
    assert daemon.lacking("--since", at(given[0][0])) == [told]
    assert daemon.lacking("--since", at(given[0][0]), "--until", at(known)) == []


def test_a_ring_that_held_something_for_a_moment(daemon: Daemon) -> None:
    """It has it no more a second later: then all is here, however long ago the range ended."""
    given = packets(100, 90)
    put(daemon.captures, "v0", 1, given, "open")
    daemon.status.rings[0] = replace(daemon.ring, filled=0.2)
    daemon.drains_at = time.monotonic() + 2
    assert daemon.lacking("--since", at(given[0][0]), "--until", "1m") == []
