"""The package on a bare Debian 12 and 13: from `apt-get install` of a file to its purge.

Each test begins with an installed package that captures nothing, whatever the one before did.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from capd.events import Kind
from tests.support import debs, judge
from tests.support.load import STREAM
from tests.support.machine import Machine
from tests.support.need import need, need_frame_source
from tests.support.recorder import segments
from tests.support.roots import BARE
from tests.support.service import (
    check_all,
    config,
    is_active,
    main_pid,
    start,
    told_pauses,
    under_load,
    workers,
)
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

HIGHER = "7.0"
BAD = "capd.service.d/bad.conf"


@pytest.fixture(scope="module", params=BARE, ids=lambda system: system.value)
def bare(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A Debian with systemd, and what debootstrap thinks that nobody can do without."""
    need_frame_source()
    need("debootstrap", "tcpdump", "tshark", "capinfos")
    with Machine(request.param) as booted:
        yield booted


@pytest.fixture
def machine(bare: Machine) -> Machine:
    """The same, with capd installed from a file."""
    package = debs.deb(bare.system)
    if f"capd_{version(bare)}_" not in package.name:
        bare.run("dpkg", "--purge", "capd")
        apt_install(bare, package)
    return bare


def apt(machine: Machine, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """apt-get, which asks nobody anything."""
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y")
    return machine.run(*quiet, "--no-install-recommends", *words, check=check)


def put(machine: Machine, package: Path) -> str:
    """The file into the machine; gives where it is there."""
    path = f"/srv/{package.name}"
    (machine.root / path[1:]).write_bytes(package.read_bytes())
    return path


def apt_install(
    machine: Machine, package: Path, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """From a file, as an operator does it."""
    return apt(machine, "install", put(machine, package), check=check)


def version(machine: Machine) -> str:
    """Of the package that is there; nothing if there is none."""
    asked = ("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "capd")
    status, _, number = machine.run(*asked, check=False).stdout.partition(" ")
    return number if status == "installed" else ""


def test_install(bare: Machine) -> None:
    """apt finds all that it needs; nothing is captured before somebody says so."""
    bare.run("dpkg", "--purge", "capd")  # where it is there
    said = apt_install(bare, debs.deb(bare.system)).stdout
    assert "capd: installed, and neither started nor enabled." in said
    assert bare.property("ActiveState") == "inactive"
    assert bare.property("UnitFileState") == "disabled"
    assert bare.run("id", "-nG", "capd").stdout == "capd\n"
    bare.run("capd", "check", check=False)
    catalog = bare.run("journalctl", "--list-catalog").stdout
    assert Kind.LOSS.message_id in catalog
    units = [f"capd{name}" for name in (".service", "-exec.service", "-exec.path")]
    units += ["capd-metrics.service", "capd-tune.service"]
    verified = bare.run("systemd-analyze", "verify", *units)
    assert (verified.stdout, verified.stderr) == ("", "")


def test_it_captures(machine: Machine, interface: tuple[str, int]) -> None:
    """And reloads; and writes nothing where the package's files are."""
    name, index = interface
    start(machine, name)
    with FrameSource(STREAM, index, machine.name) as source:
        source.inject_at(20_000, 20_000)
    machine.write_config(config(name).replace('"16MiB"', '"32MiB"'))
    machine.systemctl("reload", "capd")
    assert "rotate_size 16 MiB -> 32 MiB" in machine.journal_text(Kind.RELOADED)
    check_all(machine, name, 20_000)
    # -V names what differs from the package: the config, which is a conffile.
    differing = machine.run("dpkg", "-V", "capd", check=False).stdout.splitlines()
    assert [line.split() for line in differing] == [["??5??????", "c", "/etc/capd.toml"]]
    owned = set(machine.run("dpkg", "-L", "capd").stdout.splitlines())
    there = machine.run("find", "/usr/lib/capd").stdout.splitlines()
    assert set(there) - owned == set()


def test_an_upgrade_loses_nothing(machine: Machine, interface: tuple[str, int]) -> None:
    """To a higher version, under load: the config stays, and each frame is there once."""
    name, index = interface
    start(machine, name)
    mine = (machine.root / "etc" / "capd.toml").read_text()
    before = machine.property("MainPID")

    higher = debs.deb(machine.system, HIGHER)
    count = under_load(machine, index, partial(apt_install, machine, higher))
    assert version(machine) == HIGHER
    assert machine.property("MainPID") not in {before, "0"}
    assert (machine.root / "etc" / "capd.toml").read_text() == mine
    check_all(machine, name, count)


def test_between_unpacking_and_the_restart(machine: Machine, interface: tuple[str, int]) -> None:
    """A worker that dies then is replaced from the new files, and so is the daemon."""
    name, index = interface
    start(machine, name)
    higher = put(machine, debs.deb(machine.system, HIGHER))

    def upgrade() -> None:
        machine.run("dpkg", "--unpack", higher)
        before = len(told_pauses(machine))
        for victim in (workers(machine)[0], main_pid(machine)):
            os.kill(victim, signal.SIGKILL)
            before += 1
            wait_for(lambda: len(told_pauses(machine)) >= before, 20, "a pause")  # noqa: B023
            wait_for(lambda: is_active(machine), 20, "the service")
        machine.run("dpkg", "--configure", "capd")

    count = under_load(machine, index, upgrade)
    assert version(machine) == HIGHER
    check_all(machine, name, count)


def test_an_upgrade_starts_nothing(machine: Machine) -> None:
    """What the operator has stopped stays so."""
    machine.write_config(config("v0"))
    machine.systemctl("enable", "capd")
    apt_install(machine, debs.deb(machine.system, HIGHER))
    assert machine.property("ActiveState") == "inactive"
    assert machine.property("UnitFileState") == "enabled"


def test_a_version_that_does_not_start(machine: Machine, interface: tuple[str, int]) -> None:
    """apt fails and says what to do, the rings stay; once it starts nothing is missing."""
    name, index = interface
    start(machine, name, ring="512MiB")
    own = version(machine)

    def upgrade() -> None:
        machine.write_unit(BAD, "[Service]\nExecStartPre=/bin/false\n")
        try:
            done = apt_install(machine, debs.deb(machine.system, HIGHER), check=False)
            assert done.returncode == 100
            assert f"capd: version {HIGHER} did not start." in done.stdout
            assert "(2 descriptors)" in done.stdout
            assert f"./capd_{own}_*.deb" in done.stdout
            assert machine.property("NFileDescriptorStore") == "2"
        finally:
            machine.remove_unit(BAD)
        machine.run("dpkg", "--configure", "capd")
        wait_for(lambda: is_active(machine) and workers(machine), 20, "the service")

    count = under_load(machine, index, upgrade)
    assert version(machine) == HIGHER
    check_all(machine, name, count)


def test_remove_and_purge(machine: Machine, interface: tuple[str, int]) -> None:
    """Both end the capture, and neither takes the captures."""
    name, index = interface
    start(machine, name)
    machine.systemctl("enable", "capd")
    with FrameSource(STREAM, index, machine.name) as source:
        source.inject_at(20_000, 10_000)
    apt(machine, "remove", "capd")
    assert version(machine) == ""
    judge.check_numbers(segments(machine.captures, name), STREAM, 10_000)
    assert machine.property("LoadState") == "not-found"
    wants = machine.root / "etc" / "systemd" / "system" / "multi-user.target.wants"
    assert not (wants / "capd.service").is_symlink()
    assert not (machine.root / "usr" / "lib" / "capd").exists()
    assert (machine.root / "etc" / "capd.toml").read_text() == config(name)
    said = apt_install(machine, debs.deb(machine.system)).stdout
    assert "capd: installed, and neither started nor enabled." in said
    assert (machine.root / "etc" / "capd.toml").read_text() == config(name)
    said = apt(machine, "purge", "capd").stdout
    assert "capd: the captures are still there: " in said
    assert " in /var/lib/capd\n" in said
    assert not (machine.root / "etc" / "capd.toml").exists()
    judge.check_numbers(segments(machine.captures, name), STREAM, 10_000)
    for path in segments(machine.captures, name):
        judge.assert_clean(path)
    assert machine.run("id", "-un", "capd").stdout == "capd\n"
    assert machine.run("stat", "-c", "%U", f"/var/lib/capd/{name}").stdout == "capd\n"
