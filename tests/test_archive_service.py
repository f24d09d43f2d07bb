"""The archive process inside the shipped unit: it is let do all that it does, and yields to all."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from capd.catalog import Catalog, everything
from capd.events import Kind
from tests.support import judge
from tests.support.load import RATE, STREAM
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need
from tests.support.recorder import archive_of
from tests.support.service import config, main_pid
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

SECOND = "/data/archive"
TABLES = f'[compression]\nenabled = true\n[archive]\ndirectory = "{SECOND}"\n'


def is_bad(entry: dict[str, str]) -> bool:
    """Whether the archive process complains."""
    kinds = (Kind.ARCHIVE_TROUBLE, Kind.CANNOT_MOVE, Kind.ARCHIVE_DIED, Kind.SEGMENT_DAMAGED)
    return entry.get("MESSAGE_ID") in [kind.message_id for kind in kinds]


@pytest.mark.fault(52)
def test_it_may_do_what_it_does(machine: Machine, interface: tuple[str, int]) -> None:
    """Index, compress and move, in the idle classes; nothing is refused."""
    need("ionice")
    name, index = interface
    machine.run("install", "-d", "-m", "750", "-o", "capd", "-g", "capd", SECOND)
    machine.write_unit("capd.service.d/archive.conf", f"[Service]\nReadWritePaths={SECOND}\n")
    machine.write_config(config(name) + TABLES)
    entries = machine.journal()
    after = entries[-1]["__CURSOR"] if entries else ""
    try:
        machine.systemctl("start", "capd")
        with FrameSource(STREAM, index, machine.name) as source:
            source.inject_at(RATE, 6 * RATE)
        pid = wait_for(lambda: archive_of(main_pid(machine)), 10, "the archive process")
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        said = subprocess.run(["ionice", "-p", str(pid)], capture_output=True, check=True).stdout
        assert said == b"idle\n"
        moved = machine.root / SECOND[1:]
        wait_for(lambda: list(moved.glob("*/*/*.zst")), 30, "a segment that moved")
        machine.systemctl("stop", "capd")
        assert [one["MESSAGE"] for one in machine.journal("capd", after) if is_bad(one)] == []
        found = {
            one.seq: directory / one.path
            for directory in (moved, machine.captures)
            for one in everything(Catalog(str(directory)).scan())
            if one.ring == name
        }
        files = [found[seq] for seq in sorted(found)]
        assert judge.numbers(files, STREAM) == [*range(6 * RATE)]
    finally:
        machine.remove_unit("capd.service.d/archive.conf")


def test_a_second_directory_that_the_unit_may_not_write_to(
    machine: Machine, interface: tuple[str, int]
) -> None:
    """It is no reason not to capture; `check` has the drop-in, the journal the reason."""
    name, index = interface
    machine.run("install", "-d", "-m", "750", "-o", "capd", "-g", "capd", SECOND)
    machine.write_config(config(name) + TABLES)
    checked = machine.run("capd", "check")
    assert re.search(r"warning: archive.directory: cannot use .*may not write", checked.stderr)
    assert f"ReadWritePaths={SECOND}" in checked.stderr
    machine.systemctl("start", "capd")
    with FrameSource(STREAM, index, machine.name) as source:
        source.inject_at(RATE, 6 * RATE)
    wait_for(lambda: machine.journal_text(Kind.CANNOT_MOVE), 30, "a word about it")
    assert "Read-only file system" in machine.journal_text(Kind.CANNOT_MOVE)
    machine.systemctl("stop", "capd")
    segments = everything(Catalog(f"{machine.captures}").scan())
    files = [machine.captures / one.path for one in segments if one.ring == name]
    assert judge.numbers(files, STREAM) == [*range(6 * RATE)]
    assert CAPTURES in checked.stdout
