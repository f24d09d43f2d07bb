"""What an extraction leaves behind, and what it waits for."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import termios
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from capd.audit import who
from capd.messages import Counters
from capd.query.access import put_on_record
from capd.query.extraction import ENDLESS, Request, _pool
from capd.query.manners import MOST_PAUSE, Courtesy
from capd.query.reading import Reader
from capd.query.sources import Wanted
from capd.status import RingStatus, Status, write
from tests.support.command import running
from tests.support.extracting import CAPD, at, make
from tests.support.journal import Journal
from tests.support.need import need
from tests.support.traffic import START
from tests.support.wait import wait_for

SIZE = 8 * 2**20
PAGE = 4096


def cached(path: Path) -> int:
    """Bytes of a file in the page cache."""
    argv = ["fincore", "--bytes", "--noheadings", "--output", "RES", str(path)]
    return int(subprocess.run(argv, capture_output=True, check=True).stdout)


@pytest.mark.parametrize("before", [0, SIZE])
def test_the_page_cache_stays_as_it_was(tmp_path: Path, before: int) -> None:
    """Neither filled with what is read, nor robbed of what others read."""
    need("fincore")
    path = tmp_path / "segment"
    path.write_bytes(os.urandom(SIZE))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if not before:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert cached(path) == before
        buffer = bytearray(SIZE)
        assert Reader(file.fileno()).read(buffer, SIZE, 0) == SIZE
    assert cached(path) == before
    assert buffer == path.read_bytes()


def test_its_threads_come_last() -> None:
    """And nobody else's: the rest of the process keeps its priority."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with _pool() as pool:
        nice, disk = pool.submit(
            lambda: (
                os.getpriority(os.PRIO_PROCESS, threading.get_native_id()),
                psutil.Process(threading.get_native_id()).ionice().ioclass,
            )
        ).result()
    assert (nice, disk) == (19, psutil.IOPRIO_CLASS_IDLE)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def ring(filled: float) -> RingStatus:
    return RingStatus(
        *("v0", "v0", "up", "running", 1, "", 0, "/captures", 2**20, filled, 1, 0, 0, 0, None),
        *(0.0, 0.0, Counters()),
    )


def test_it_waits_while_a_ring_fills(tmp_path: Path) -> None:
    """From a quarter on, until less than a tenth waits."""
    path = str(tmp_path / "status.json")
    status = Status("1", 1, "", 0, time.time_ns(), "running", None, [ring(0.2)])
    write(path, status)
    said: list[str] = []
    Courtesy(path, said.append).wait()
    write(path, replace(status, rings=[ring(0.3)]))
    waiting = threading.Thread(target=Courtesy(path, said.append).wait, daemon=True)
    waiting.start()
    for filled in (0.3, 0.2, 0.11):
        write(path, replace(status, written_at=time.time_ns(), rings=[ring(filled)]))
        waiting.join(0.6)
        assert waiting.is_alive(), filled
    write(path, replace(status, written_at=time.time_ns(), rings=[ring(0.05)]))
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.parametrize("refuses", [False, True])
def test_it_does_not_wait_for_ever(tmp_path: Path, *, refuses: bool) -> None:
    """A full disk keeps the ring at three quarters: what is given up for it tells."""
    path, said = str(tmp_path / "status.json"), list[str]()
    status = Status("1", 1, "", 0, 0, "running", None, [ring(0.75)])
    courtesy = Courtesy(path, said.append)
    waiting = threading.Thread(target=courtesy.wait, daemon=True)
    began = time.monotonic()
    for beat in range(300):
        given_up = Counters(disk=100 * beat * refuses)
        rings = [replace(ring(0.75), counters=given_up)]
        write(path, replace(status, written_at=time.time_ns(), rings=rings))
        if beat == 0:
            waiting.start()
        waiting.join(0.1)
        if not waiting.is_alive():
            break
    took = time.monotonic() - began
    assert not waiting.is_alive()
    if refuses:
        assert took < MOST_PAUSE / 2
        courtesy.wait()
        assert said == []
    else:
        assert took > MOST_PAUSE
        assert said == ["a ring is full to 75%: waiting for it, as capture comes first"]


def test_a_daemon_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    """Its last word may be old, or never have been said."""
    path = str(tmp_path / "status.json")
    Courtesy(path, print).wait()
    write(path, Status("1", 1, "", 0, 0, "running", None, [ring(0.9)]))
    Courtesy(path, print).wait()


def test_a_reader_that_ends_while_nothing_comes(tmp_path: Path) -> None:
    """`--follow | head` on a silent link ends with its reader, and not with the next packet."""
    words = ("--config", str(make(tmp_path).with_name("capd.toml")), "--follow")
    with running(["extract", *words], tmp_path, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 4)  # its head is written
        assert process.poll() is None
        process.stdout.close()
        assert process.wait(10) == 3
        assert process.stderr is not None
        assert "whoever read the packets has ended" in process.stderr.read()


def test_a_reader_that_stands_still(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C again and again is heard, though nothing can be written."""
    words = ("--config", str(make(tmp_path).with_name("capd.toml")), "--since", "@0", "--follow")
    with running(["extract", *words], tmp_path, subprocess.PIPE) as process:
        assert process.stdout is not None
        unread = process.stdout.fileno()
        room = fcntl.fcntl(unread, fcntl.F_GETPIPE_SZ)
        wait_for(lambda: waiting(unread) > room - PAGE, 10, "the pipe to be full")

        def ended() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        wait_for(ended, 10, "its end")


def test_a_pipe_that_does_not_wait(tmp_path: Path) -> None:
    """As a program with an event loop hands on its own: nothing is lost, and nothing fails."""
    argv = [str(CAPD), "extract", "--config", str(make(tmp_path).with_name("capd.toml"))]
    argv += ["--since", at(START), "--until", at(START + 10**10)]
    whole = subprocess.run(argv, capture_output=True, check=True).stdout
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen(argv, stdout=writing) as process, open(reading, "rb") as pipe:
        os.close(writing)
        wait_for(lambda: waiting(reading) > len(whole) // 8, 10, "packets")
        given = pipe.read()
    assert (process.returncode, len(given)) == (0, len(whole))


def waiting(pipe: int) -> int:
    """Bytes in it."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(count)


def test_it_is_on_record(tmp_path: Path) -> None:
    """Who had how many packets, of what, by which filter; and that somebody was about to."""
    journal = Journal(tmp_path / "socket")
    wanted = Wanted(("/captures",), 0, 10**9, ("v0",))
    request = Request(wanted, "port 53")
    for packets in (None, 1234):
        put_on_record(request, packets, str(tmp_path / "socket"))
    endless = replace(request, wanted=replace(wanted, until=ENDLESS))
    put_on_record(endless, None, str(tmp_path / "socket"))
    before, record, follows = journal.read()
    journal.close()
    assert before["MESSAGE"] == record["MESSAGE"].replace("extracted 1,234", "extracts")
    assert before["CAPD_FILTER"] == "port 53"
    assert before["MESSAGE_ID"] != record["MESSAGE_ID"]
    assert follows["CAPD_TO"] == "the time when it is ended"
    assert record["MESSAGE"].startswith(f"{who()} extracted 1,234 packets from 1970")
    assert record["CAPD_FILTER"] == "port 53"
    assert record["CAPD_INTERFACES"] == "v0"
    assert record["CAPD_PACKETS"] == "1234"
    assert record["CAPD_TO"].startswith("1970-01-01T00:00:01")
