"""Segments on their way to the hook's command: real files, a real reaper, and `capd exec`."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capd.catalog import Catalog
from capd.config import Hook
from capd.daemon import handed
from capd.daemon.handed import Handed
from capd.daemon.outlook import Seen
from capd.daemon.porter import Porter, PorterPlan
from capd.daemon.reaper import Reaper, Territory
from capd.daemon.retention import Policy
from capd.daemon.trusted_clock import TrustedClock
from capd.names import HANDED_FILE, SegmentName
from capd.spool import SEGMENT_CLOSED, Event, Spool
from tests.support.laying import NOON, SIZE, lay, there
from tests.support.programs import ALERT, Program, quoted
from tests.support.recorder import CAPD
from tests.support.wait import wait_for

HOUR = 3600 * 10**9


class Yard:
    """A capture directory, a spool, and a program that goes on once there is a flag."""

    def __init__(self, path: Path, code: str = "") -> None:
        self.path = path
        self.directory = path / "captures"
        self.directory.mkdir()
        self.second = ""  # to which segments move
        self.spool = Spool(str(path))
        self._flag = path / "flag"
        waits = f"while not os.path.exists({str(self._flag)!r}): time.sleep(0.05)\n"
        self.program = Program(path, waits + code)
        self.config = path / "capd.toml"
        self.configure("")

    def configure(self, more: str) -> None:
        command = f"[hook]\nsegment_closed = {quoted(self.program.path)}\n"
        self.config.write_text(f'{command}{more}\n[[interface]]\nname = "v0"\n')

    def lay(self, *seqs: int) -> None:
        for seq in seqs:
            stamp = NOON + seq * HOUR
            lay(self.directory, SegmentName("v0", stamp, seq), stamp + 1, packets=7)

    @property
    def runs(self) -> list[int]:
        return [int(run["facts"]["CAPD_NUMBER"]) for run in self.program.runs]

    def go_on(self) -> None:
        self._flag.touch()

    def seen(self) -> Seen:
        """As a reaper sees it."""
        at, directory = time.monotonic_ns(), str(self.directory)
        return Seen(at, directory, Catalog(directory).scan(), frozenset())

    def plan(self, **changes: object) -> PorterPlan:
        hook = Hook(segment_closed=(str(self.program.path),)).model_copy(update=changes)
        return PorterPlan(str(self.directory), self.second, compress=False, hook=hook)

    def begin_at(self, seq: int) -> None:
        """What is before that is handed over."""
        handed.write(str(self.directory), Handed({"v0": ((1, seq - 1),) if seq > 1 else ()}))

    @contextmanager
    def porter(self, **changes: object) -> Iterator[Porter]:
        """A new one, as a daemon that starts has it."""
        porter = Porter(self.spool)
        porter.adjust(self.plan(**changes))
        porter.look(self.seen(), None)
        try:
            yield porter
        finally:
            porter.end()

    @contextmanager
    def executing(self) -> Iterator[None]:
        """`capd exec`, whenever there is an event: what systemd's unit does."""
        over = threading.Event()

        def serve() -> None:
            while not over.wait(0.1):
                if self.spool.names():
                    words = [str(CAPD), "exec", "--config", str(self.config)]
                    env = os.environ | {"RUNTIME_DIRECTORY": str(self.path)}
                    subprocess.run(words, env=env, capture_output=True, check=True)

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield
        finally:
            self.go_on()
            over.set()
            server.join(30)


def status(porter: Porter) -> tuple[int, int, int]:
    """What waits, what was done, what was missed."""
    found = porter.status
    return (-1, -1, -1) if found is None else (found.waiting, found.done, found.missed)


def looked_at(porter: Porter, seen: Seen) -> None:
    """Until it has taken that in."""
    wait_for(lambda: porter._known[0] is seen, 10, "a look")


def test_what_is_deleted_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is told and counted; what the command has begun with is its business."""
    yard = Yard(tmp_path)
    yard.begin_at(2)
    yard.lay(1, 2, 3, 4, 5)
    with yard.executing(), yard.porter() as porter:
        wait_for(lambda: yard.runs == [2], 20, "the first")
        for segment in there(yard.directory, "v0")[2:4]:
            (yard.directory / segment.path).unlink()
        for _ in range(2):
            seen = yard.seen()
            porter.look(seen, None)
            looked_at(porter, seen)
        yard.go_on()
        wait_for(lambda: status(porter) == (0, 2, 2), 20, "the end")
        seen = yard.seen()
        porter.look(seen, None)
        looked_at(porter, seen)
    assert yard.runs == [2, 5]
    text = "v0: segments 3 to 4 are gone, and the [hook] command was not done for them"
    assert text in caplog.text
    found = handed.read(str(yard.directory))
    assert found is not None
    assert found.rings == {"v0": ((1, 5),)}
    facts = yard.program.runs[1]["facts"]
    assert (facts["CAPD_PACKETS"], facts["CAPD_SIZE"]) == ("7", str(SIZE))
    assert facts["CAPD_FIRST"] == "2025-11-24T17:00:00.000000000Z"
    assert facts["CAPD_LAST"] == "2025-11-24T17:00:00.000000001Z"


@pytest.mark.parametrize(("keep", "left"), [(True, [3, 4, 5, 6]), (False, [5, 6])])
def test_retention_waits_if_told_to(tmp_path: Path, keep: bool, left: list[int]) -> None:
    """Until the command is done; by default it does not."""
    yard = Yard(tmp_path)
    yard.begin_at(3)
    yard.lay(*range(1, 7))
    territory = Territory(str(yard.directory), require_mount=False, policy=Policy(max_files=2))
    reaper = Reaper(territory, TrustedClock())
    with yard.porter(keep_until_done=keep) as porter:
        wait_for(lambda: porter.status is not None, 10, "a look")
        reaper.waits = porter.waits
        reaper.start()
        wait_for(lambda: reaper.outlook.segments, 10, "the reaper")
        assert [segment.seq for segment in there(yard.directory, "v0")] == left
        porter.look(reaper.seen, None)
        yard.go_on()
        with yard.executing():
            wait_for(lambda: {5, 6} <= set(yard.runs), 30, "the command")
            wait_for(lambda: not yard.spool.names(), 10, "its end")
            wait_for(lambda: not porter.waits(there(yard.directory, "v0")[-1]), 10, "the answer")
        reaper.wake()
        wait_for(lambda: len(there(yard.directory, "v0")) == 2, 10, "the reaper again")
        reaper.end()


def test_what_moves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is handed over once it is in the second directory, and is not missed on its way there."""
    yard, second = Yard(tmp_path), tmp_path / "second"
    second.mkdir()
    yard.second = str(second)
    yard.begin_at(1)
    yard.lay(1, 2)
    yard.go_on()

    def look() -> None:
        seen = Seen(time.monotonic_ns(), str(second), Catalog(str(second)).scan(), frozenset())
        first = yard.seen()
        porter.look(first, seen)
        looked_at(porter, first)

    with yard.executing(), yard.porter() as porter:
        look()
        assert yard.spool.names() == []
        (yard.directory / "v0").rename(second / "v0")
        yard.lay(3)
        look()
        wait_for(lambda: status(porter) == (1, 2, 0), 20, "those that have moved")
    assert yard.runs == [1, 2]
    assert all(run["facts"]["CAPD_PATH"].startswith(str(second)) for run in yard.program.runs)
    assert "are gone" not in caplog.text


def test_the_next_daemon_knows(tmp_path: Path) -> None:
    """What the one before has left for `capd exec`, and what came of it; nothing is run twice."""
    yard = Yard(tmp_path)
    yard.begin_at(1)
    yard.lay(1, 2)
    with yard.executing():
        with yard.porter():
            wait_for(lambda: yard.runs == [1], 20, "the first")
        with yard.porter() as porter:
            wait_for(lambda: status(porter) == (2, 0, 0), 10, "a look")
            found = porter.status
            assert found is not None
            assert found.running == 1
        yard.go_on()
        wait_for(lambda: yard.spool.known(SEGMENT_CLOSED)[1], 10, "the answer")
        with yard.porter() as porter:
            wait_for(lambda: status(porter) == (0, 2, 0), 20, "the end")
    assert yard.runs == [1, 2]


def test_a_hook_that_is_taken_out(tmp_path: Path) -> None:
    """Leaves nothing behind, so that it is new when it is put in again."""
    yard = Yard(tmp_path)
    yard.begin_at(1)
    yard.lay(1)
    with yard.porter() as porter:
        wait_for(lambda: yard.spool.names(SEGMENT_CLOSED), 10, "an event")
        porter.adjust(yard.plan(segment_closed=None))
        wait_for(lambda: not yard.spool.names(), 10, "its end")
        assert porter.status is None
        assert not (yard.directory / HANDED_FILE).exists()
        porter.adjust(yard.plan())
        porter.look(yard.seen(), None)
        wait_for((yard.directory / HANDED_FILE).exists, 10, "the new one")
        wait_for(lambda: status(porter) == (0, 0, 0), 10, "nothing to do")
    assert yard.spool.names() == []


def test_a_file_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is handed over, nor taken for handed over, until it is mended; that is said once."""
    yard = Yard(tmp_path)
    yard.lay(1)
    (yard.directory / HANDED_FILE).write_text("{")
    with yard.porter() as porter:
        wait_for(lambda: "mend it, or remove it" in caplog.text, 10, "a word")
        yard.begin_at(1)
        wait_for(lambda: yard.spool.names(SEGMENT_CLOSED), 10, "an event")
        assert porter.waits(there(yard.directory, "v0")[0]) is False, "nobody asked for that"
    assert caplog.text.count("cannot read") == 1


def test_an_answer_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is a failure: the command is run again."""
    yard = Yard(tmp_path)
    yard.begin_at(1)
    yard.lay(1)
    yard.go_on()
    with yard.porter() as porter:
        (name,) = wait_for(lambda: yard.spool.names(SEGMENT_CLOSED), 10, "an event")
        results = Path(yard.spool.results)
        results.mkdir()
        (results / name).write_text("{")
        wait_for(lambda: "for segment 1: nobody can read what became" in caplog.text, 10, "a word")
        with yard.executing():
            wait_for(lambda: status(porter) == (0, 1, 0), 20, "the end")
    assert yard.runs == [1]


def test_several_at_once(tmp_path: Path) -> None:
    """As many as are asked for; an alert does not wait for them, nor for one another."""
    yard = Yard(tmp_path)
    alert = tmp_path / "alert"
    alert.mkdir()
    program = Program(alert)
    yard.configure(f"[alert]\ncommand = {quoted(program.path)}\n")
    yard.begin_at(1)
    yard.lay(1, 2, 3, 4)
    with yard.executing(), yard.porter(parallel=3) as porter:
        wait_for(lambda: sorted(yard.runs) == [1, 2, 3], 20, "three")
        yard.spool.put(ALERT)
        wait_for(lambda: program.runs, 10, "the alert")
        assert sorted(yard.runs) == [1, 2, 3]
        yard.go_on()
        wait_for(lambda: status(porter) == (0, 4, 0), 20, "the end")
    assert sorted(yard.runs) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("config", "path", "how"),
    [
        ('[hook]\nsegment_closed = ["/bin/true"]\n', "/no/such", "the segment is gone"),
        ('[hook]\nsegment_closed = ["/bin/true"]\n', "/" + 300 * "x", "File name too long"),
        ("", "/dev/null", "has no [hook] segment_closed"),
        ("[hook]\nsegment_closed = []\n", "/dev/null", "the config cannot be used: "),
        (
            '[hook]\nsegment_closed = ["/bin/sleep", "100"]\ntimeout = "1s"\n',
            "/dev/null",
            "/bin/sleep: no end within 1 s",
        ),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, config: str, path: str, how: str) -> None:
    """Is answered: the daemon decides what comes next."""
    spool, file = Spool(str(tmp_path)), tmp_path / "capd.toml"
    file.write_text(f'{config}[[interface]]\nname = "v0"\n')
    facts = {"ring": "v0", "number": "3", "path": path}
    name = spool.put(Event(SEGMENT_CLOSED, NOON, "a segment", facts, answer=True))
    words = [str(CAPD), "exec", "--config", str(file)]
    env = os.environ | {"RUNTIME_DIRECTORY": str(tmp_path)}
    subprocess.run(words, env=env, capture_output=True, check=True)
    assert spool.names() == []
    assert spool.known(SEGMENT_CLOSED)[1] == [name]
    result = spool.result(name)
    assert result is not None
    assert (result["ring"], result["number"], result["done"]) == ("v0", "3", False)
    assert how in str(result["how"])
    assert bool(result.get("gone")) is (path == "/no/such")
