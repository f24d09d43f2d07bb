"""The status file: whole at every moment, readable by people and programs, honest about its age."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from capd import status as statuses
from capd.errors import StorageError
from capd.losses import Loss
from capd.messages import Counters
from capd.status import (
    ArchiveStatus,
    BacklogStatus,
    CpuBacklog,
    DiskStatus,
    HoldsStatus,
    HookStatus,
    NicStatus,
    RingStatus,
    Status,
)
from capd.status_view import before_rings, page, text
from capd.units import SECOND
from tests.support.disk import mounted
from tests.support.frames import IMIX, Stream
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import CAPD, Recorder, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

RING = RingStatus(
    "v0", "v0", "up", "running", 7, "port 80", 1, "/c", 2**28, 0.25, 3, 4096, 1, 0, 120,
    1.2e6, 6.9e9, Counters(received=5, written=4, dropped=1),
)  # fmt: skip
STATUS = Status(
    "0.1.0", 1, "/etc/capd.toml", 1, 2, "running", None,
    [RING], {"w0": "there is no such interface"}, {}, [Loss("v0", "ring", 1, 2, 1, "full")],
    DiskStatus("/c", 100, 39),
    ArchiveStatus(9, 3, 2, 50, 40, 300, 100, False, 3),
    nics=[NicStatus("v0", "igb", 5, {"rx_dropped": None}, {"rx_dropped": ["backlog"]}, "a note")],
    backlog=BacklogStatus(7, [CpuBacklog(None, 1, 7, 0, None, None)]),
    holds=HoldsStatus(2, 3, 4096, None, []),
    hook=HookStatus(5, 1, 1234, 0, 0, 0, failing=False),
)  # fmt: skip


def test_there_and_back() -> None:
    assert statuses.decode(statuses.encode(STATUS)) == STATUS


def test_a_later_version_may_add_keys() -> None:
    fields = json.loads(statuses.encode(STATUS))
    fields["more"] = fields["rings"][0]["more"] = fields["disk"]["more"] = 1
    fields["archive"]["more"] = fields["holds"]["more"] = fields["hook"]["more"] = 1
    fields["losses"][0]["more"] = fields["rings"][0]["counters"]["more"] = 1
    assert statuses.decode(json.dumps(fields)) == STATUS


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"rings": 5}', "\x00" * 50, "[" * 9999])
def test_what_is_not_a_status(tmp_path: Path, text: str) -> None:
    path = tmp_path / "status.json"
    path.write_text(text)
    with pytest.raises(StorageError, match="it is not capd's"):
        statuses.read(str(path))


@pytest.mark.security("links")
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("pipe", "it is not a regular file"),
        ("link", "Too many levels of symbolic links"),
        ("heap", f"it is longer than {statuses.MOST} bytes"),
        ("bytes", "'utf-8' codec can't decode"),
    ],
)
def test_what_lies_in_its_place(tmp_path: Path, what: str, why: str) -> None:
    """Nobody waits for it, is led elsewhere, or takes it all into memory: root reads this."""
    path = tmp_path / "status.json"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to("/dev/null")
    else:
        path.write_bytes(b"\xff")
    if what == "heap":
        os.truncate(path, 2**40)
    words = [str(CAPD), "status"]
    env = os.environ | {"RUNTIME_DIRECTORY": str(tmp_path)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"cannot read {path}: {why}" in " ".join(done.stderr.split())


def test_one_line() -> None:
    assert statuses.line(STATUS) == (
        "waiting for w0; 1 interface, 1.2 Mpps, 6.9 Gb/s, 1 lost; disk 61%"
    )


def test_what_is_held_is_shown() -> None:
    """And what is not clear comes before what is fine."""
    console = Console(file=io.StringIO(), width=110)
    unclear = HoldsStatus(1, 3, 4096, 5 * SECOND, ["/c/x.json cannot be understood"])
    for holds in (STATUS.holds, unclear):
        console.print(page(replace(STATUS, holds=holds)))
    assert isinstance(console.file, io.StringIO)
    shown = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
    assert "\n2 holds: 3 segments of 4 KiB are held\n" in shown
    assert (
        "\n1 hold: 3 segments of 4 KiB are held; the next ends at 1970-01-01T00:00:05.000000000Z\n"
        "/c/x.json cannot be understood\n"
    ) in shown
    assert "it is not clear what is held" not in statuses.line(STATUS)
    assert statuses.line(replace(STATUS, holds=unclear)).startswith("it is not clear what is held;")


def test_the_hook_is_shown() -> None:
    """That it fails is for everybody to see."""
    console = Console(file=io.StringIO(), width=150)
    bad = replace(STATUS, hook=HookStatus(5, 0, 1234, 7, 2, 3, failing=True))
    for status in (STATUS, bad):
        console.print(page(status))
    assert isinstance(console.file, io.StringIO)
    shown = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
    assert "\nhook: done for 1,234 segments, 5 wait\n" in shown
    assert (
        "\nhook: done for 1,234 segments, 5 wait; failed 7 times; never done for 5, "
        "of which 3 were deleted before it could be; it fails now\n"
    ) in shown
    assert statuses.line(bad).startswith("the hook fails, 5 segments wait for it;")


def test_its_age_is_told() -> None:
    assert statuses.staleness(STATUS, STATUS.written_at + 4 * SECOND) is None
    told = statuses.staleness(STATUS, STATUS.written_at + 60 * SECOND)
    assert told is not None
    assert "60 s ago" in told
    back = statuses.staleness(STATUS, STATUS.written_at - 3600 * SECOND)
    assert back is not None
    assert "3600 s ahead of the clock" in back


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    path = str(tmp_path / "status.json")
    statuses.write(path, STATUS)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            statuses.write(path, STATUS)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3000):
            assert statuses.read(path) == STATUS
    finally:
        done.set()
        writer.join()


def test_a_directory_that_is_gone_is_no_reason_to_end(tmp_path: Path) -> None:
    statuses.write(str(tmp_path / "none" / "status.json"), STATUS)


def test_a_full_directory_keeps_the_one_before(tmp_path: Path) -> None:
    """The disk takes a part of the next one; it comes when there is room."""
    need("mount")
    longer = replace(STATUS, trouble="x" * 10_000)
    with mounted("tmpfs", tmp_path, 3 * 4096) as disk:
        path = disk.path / "status.json"
        for _ in range(2):
            statuses.write(str(path), STATUS)
            statuses.write(str(path), longer)
            assert statuses.read(str(path)) == STATUS
            assert list(disk.path.iterdir()) == [path]
        path.unlink()
        statuses.write(str(path), longer)
        assert statuses.read(str(path)) == longer


def test_what_is_in_the_way_of_the_next(tmp_path: Path) -> None:
    """A pipe, or a file that others have open, keeps nobody waiting."""
    path = tmp_path / "status.json"
    os.mkfifo(tmp_path / "status.json.new")
    writer = threading.Thread(target=statuses.write, args=(str(path), STATUS), daemon=True)
    writer.start()
    writer.join(10)
    assert statuses.read(str(path)) == STATUS
    assert path.lstat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("output", "code"), [("/dev/full", 1), ("nobody", 0)])
def test_nobody_takes_it(tmp_path: Path, output: str, code: int) -> None:
    """A full disk is told in one line; of a reader that has left there is nothing to tell."""
    statuses.write(str(tmp_path / "status.json"), replace(STATUS, written_at=time.time_ns()))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") if output == "nobody" else Path(output).open("wb") as taker:
        done = subprocess.run(
            [str(CAPD), "status"],
            stdout=taker,
            stderr=subprocess.PIPE,
            env=os.environ | {"RUNTIME_DIRECTORY": str(tmp_path)},
            text=True,
            check=False,
        )
    full = "cannot write what there is to say: No space left on device\n"
    assert (done.returncode, done.stderr) == (code, full if code else "")


def test_no_number_is_cut(tmp_path: Path) -> None:
    """Nor a name: neither where the terminal is narrow, nor in a file, which has no width."""
    name, counters = "enp129s0f0np0", Counters(written=123_444_444_000, dropped=12_345_012)
    ring = replace(RING, ring=name, interface=name, counters=counters)
    status = replace(STATUS, rings=[ring], written_at=time.time_ns())
    for width in (30, 60, 80):
        shown = text(status, Console(file=io.StringIO(), width=width))
        assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    statuses.write(str(tmp_path / "status.json"), status)
    environment = os.environ | {"RUNTIME_DIRECTORY": str(tmp_path), "COLUMNS": "80"}
    words = ([str(CAPD), "status"], [str(CAPD), "status", "--watch"])
    told, watched = (
        subprocess.run(each, env=environment, capture_output=True, text=True, check=False)
        for each in words
    )
    assert (told.returncode, told.stderr) == (0, "")
    for whole in (name, "123,444,444,000", "12,345,012", "write ms: p50"):
        assert whole in told.stdout
    assert (watched.returncode, watched.stdout) == (2, "")


def test_the_status_of_a_daemon(net: Namespace, tmp_path: Path) -> None:
    """As people see it, and as programs do."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", "w0")
    with Recorder(net, config) as capd, FrameSource(Stream(IMIX), index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(20_000, 20_000)

        def status() -> Status:
            done = capd.order("status", "--json")
            assert done.returncode == 0, done.stderr
            return statuses.decode(done.stdout)

        wait_for(lambda: status().rings[0].counters.written == 20_000, 20, "all that was sent")
        now = status()
        assert (now.rings[0].link, now.rings[0].phase) == ("up", "running")
        assert now.rings[0].worker == capd.worker()
        assert list(now.waiting) == ["w0"]
        assert abs(now.written_at - time.time_ns()) < 10 * SECOND
        shown = capd.order("status").stdout
        assert "20,000" in shown
        assert "w0: there is no such interface" in shown
        assert capd.stop() == 0
        gone = capd.order("status")
        assert gone.returncode == 0 or "ago" in gone.stderr
    nobody = Recorder.order(capd, "status")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "capd does not run" in nobody.stderr


def test_only_one_daemon_in_a_runtime_directory(net: Namespace, tmp_path: Path) -> None:
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0")
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        second = capd.order("run", "--config", str(config))
        assert second.returncode == 1
        assert f"another capd runs (process {capd.pid}" in second.stderr


def test_stages_side_by_side() -> None:
    """What each stage lost; what nobody can know is no 0."""
    ring = replace(RING, write_p50=131_072, write_p99=None, high_water=0.5)
    nics = [NicStatus("v0", "virtio_net", None, note="ask the host"), NicStatus("v1", "veth", 0)]
    status = replace(STATUS, rings=[ring], nics=nics, backlog=BacklogStatus(1234))
    console = Console(file=io.StringIO(), width=110)
    console.print(page(status))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    row = r"v0 +\W unknown +\W 1 +\W 0 +\W 0 +\W 50% +\W 0.131 +\W - "
    assert re.search(row, shown), shown
    assert "any interface: 1,234 lost at the backlog" in shown
    assert "v0: what the NIC loses is unknown: ask the host" in shown
    assert "v1: what the NIC" not in shown
    assert "an unknown number lost" in "".join(before_rings(replace(STATUS, backlog=None)))
