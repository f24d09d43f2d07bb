"""The archive process killed at any moment, and every call of its failing: nothing is lost.

Afterwards each segment is there exactly once, indexed, with the bytes it had, and nothing else.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.archive import BUSY, RELAXED, Office, Shelf, index_of, office, plan
from tests.support.disk import Faults
from tests.support.need import need
from tests.support.wait import wait_for

SMALL = 700_000  # bytes: two sections
CHANGES = "preadv,preadv2,pwrite64,ftruncate,fsync,rename,renameat,unlink,unlinkat"
CALLS = f"{CHANGES},openat,fadvise64,newfstatat"
NOTHING = "delay_enter=0"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty capture directory, beside a place for logs."""
    directory = tmp_path / "captures"
    directory.mkdir()
    return Shelf(directory)


def test_killed_at_many_moments(shelf: Shelf) -> None:
    """With one segment after the other to do, by two threads."""
    need("zstd")
    dice = random.Random(4)
    one = Office(plan(shelf.directory, threads=2))
    deaths: Counter[str] = Counter()
    for seq in range(1, 41):
        shelf.add(seq, dice.choice([SMALL, 4 * SMALL]))
        one.load = BUSY
        one.start()
        one.wait_report(paused=True)
        one.tell(RELAXED)
        if seq % 4 == 0:  # whose turn comes late where others are at work
            wait_for(lambda: "a draft" in _state(shelf.files) or _finished(shelf), 20, "a draft")
        time.sleep(dice.uniform(0, 0.12) if seq % 4 else 0)
        one.kill()
        deaths[_state(shelf.files)] += 1
    print(deaths)
    assert deaths["a draft"] > 5
    one.start()
    one.wait_idle()
    assert not one.events
    one.kill()
    shelf.check()


@pytest.mark.fault(20, 26)
@pytest.mark.parametrize("compress", [True, False], ids=["compress", "index"])
def test_killed_at_every_call(shelf: Shelf, tmp_path: Path, compress: bool) -> None:
    """Before the n-th call of each name, for every n, in the loop and in the thread."""
    need("strace")
    one = Office(plan(shelf.directory, compress=compress))

    def work(seq: int, calls: str, how: str) -> Counter[str]:
        """A segment is closed; what was called for it."""
        path = shelf.add(seq, SMALL)
        Path(f"{path}.idx").write_bytes(b"useless")
        one.load = BUSY
        one.start()
        one.wait_report(timeout=20)
        with Faults(one.pid, calls, how, tmp_path / "log"):
            one.tell(RELAXED)
            one.look()
            wait_for(lambda: not one.alive or _finished(shelf, compress), 20, "a death, or an end")
        one.kill()
        return Counter(re.findall(r"^\d+ +(\w+)\(", (tmp_path / "log").read_text(), re.MULTILINE))

    seq, deaths = 1, 0
    counts = work(seq, CALLS, NOTHING)
    for name, count in counts.items():
        for number in range(1, count + 1):
            seq += 1
            calls = work(seq, name, f"signal=KILL:when={number}")
            deaths += calls[name] >= number
            one.load = RELAXED
            one.start()
            wait_for(lambda: _finished(shelf, compress), 20, "everything done")
            one.kill()
            assert not one.events
            shelf.check(compressed=compress)
    print(f"{deaths} deaths among {counts}")
    wanted = {"openat", "pwrite64", "ftruncate", "fsync", "renameat"}
    assert wanted | ({"unlinkat"} if compress else set()) <= counts.keys()
    assert deaths >= counts.total() // 2  # some are of two threads, which do not count together


@pytest.mark.fault(26, 33)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_every_call_fails_once(shelf: Shelf, tmp_path: Path, error: str) -> None:
    """The n-th call of each name, for every n; the process goes on by itself."""
    need("strace")
    log = tmp_path / "log"
    with office(plan(shelf.directory)) as one:

        def work(seq: int, calls: str, how: str) -> Counter[str]:
            one.tell(BUSY)
            one.wait_report(paused=True)
            path = shelf.add(seq, SMALL)
            with Faults(one.pid, calls, how, log):
                one.tell(RELAXED)
                one.look()
                wait_for(lambda: _finished(shelf), 30, f"the end of {calls} {how}, {path}")
            shelf.check()
            return Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))

        counts = work(1, CHANGES, NOTHING)
        seq, failed = 1, 0
        for name, count in counts.items():
            for number in range(1, count + 1):
                seq += 1
                work(seq, name, f"error={error}:when={number}")
                failed += "(INJECTED)" in log.read_text()
        print(f"{failed} failures among {counts}")
        assert failed == counts.total()
        assert one.alive
        assert {event.name for event in one.events} == {"ARCHIVE_TROUBLE"}


def test_a_failed_fsync_is_not_tried_again(shelf: Shelf, tmp_path: Path) -> None:
    """The file is given up: nothing is renamed before another was made and confirmed."""
    need("strace")
    shelf.add(1, SMALL)
    log = tmp_path / "log"
    with office(plan(shelf.directory), load=BUSY) as one:
        one.wait_report(backlog=1)
        how, also = "error=EIO:when=1", "openat,renameat,rename,unlinkat,unlink"
        with Faults(one.pid, "fsync", how, log, also=also):
            one.tell(RELAXED)
            wait_for(lambda: _finished(shelf), 20, "the end")
    lines = log.read_text().splitlines()
    told = [line for line in lines if ".part" in line or " fsync(" in line]
    words = [_verb(line) for line in told]
    first = next(number for number, line in enumerate(told) if "INJECTED" in line)
    assert words[first : first + 4] == ["fsync", "unlink", "open", "fsync"]
    assert words.index("rename") > first + 3
    shelf.check()


@pytest.mark.fault(26)
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EROFS", "EIO"])
def test_a_disk_that_refuses_everything(shelf: Shelf, tmp_path: Path, error: str) -> None:
    """It is told once, tried ever less often, and nothing is left half made; then it goes on."""
    need("strace")
    paths = [shelf.add(seq, SMALL) for seq in (1, 2)]
    log = tmp_path / "log"
    with office(plan(shelf.directory), load=BUSY) as one:
        one.wait_report(backlog=2)
        with Faults(one.pid, "pwrite64", f"error={error}", log) as faults:
            one.tell(RELAXED)
            wait_for(lambda: one.events, 20, "a word about it")
            time.sleep(4)
            assert len(faults.injected) <= 5
            wait_for(lambda: len(faults.injected) >= 2, 20, "another try")
            assert len(one.events) <= (2 if error == "EIO" else 1)
            assert all(event.name == "ARCHIVE_TROUBLE" for event in one.events)
            assert shelf.files == [path.name for path in paths]
            assert [path.read_bytes() for path in paths] == list(shelf.contents.values())
        wait_for(lambda: _finished(shelf), 30, "the end")
    shelf.check()


def test_a_draft_of_somebody_else_is_in_the_way(shelf: Shelf) -> None:
    """It stays, the segment stays, and the others are done."""
    path = shelf.add(1, SMALL)
    Path(f"{path}.zst.part").mkdir()
    shelf.add(2, SMALL)
    with office(plan(shelf.directory)) as one:
        one.wait_report(compressed=1, backlog=1)
        assert [event.name for event in one.events] == ["ARCHIVE_TROUBLE"]
        assert path.read_bytes() == shelf.contents[1]
        Path(f"{path}.zst.part").rmdir()
        wait_for(lambda: _finished(shelf), 60, "the end")
    shelf.check()
    assert index_of(Path(f"{path}.zst")).packets


def _finished(shelf: Shelf, compress: bool = True) -> bool:
    """Whether everything has been done, by the names of the files."""
    files = shelf.files
    ends = (".pcapng.zst", ".pcapng.zst.idx") if compress else (".pcapng", ".pcapng.idx")
    if len(files) != 2 * len(shelf.contents) or not all(name.endswith(ends) for name in files):
        return False
    return all(path.stat().st_size > 100 for path in shelf.directory.rglob("*.idx"))


def _state(files: list[str]) -> str:
    """What a kill left."""
    if any(name.endswith(".part") for name in files):
        return "a draft"
    stems = Counter(name.partition(".pcapng")[0] for name in files if not name.endswith(".idx"))
    return "both forms" if max(stems.values()) > 1 else "neither"


def _verb(line: str) -> str:
    found = re.search(r" (open|rename|unlink|fsync)", line)
    assert found, line
    return found[1]
