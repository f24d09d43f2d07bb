"""What systemd makes of the installed units: that it is what is meant."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from capd import __version__
from capd.events import Kind
from tests.support.command import AS_NOBODY
from tests.support.machine import Machine
from tests.support.roots import System
from tests.support.wait import wait_for

UNIT = "/usr/lib/systemd/system/capd.service"
METRICS_UNIT = "/usr/lib/systemd/system/capd-metrics.service"
WORST = {"capd": 1.3, "capd-metrics": 1.3, "capd-tune": 1.6, "capd-exec": 6.8}
PYTHON = "/usr/lib/capd/bin/python"

# Runs as the service; says as JSON what it could do, and why not the rest.
PROBE = """
import ctypes, json, os, socket, sys

libc = ctypes.CDLL(None, use_errno=True)
IOPRIO_SET = {"x86_64": 251, "aarch64": 30}[os.uname().machine]
IDLE = 3 << 13

def ioprio_set():
    if libc.syscall(IOPRIO_SET, 1, 0, IDLE):
        raise OSError(ctypes.get_errno(), "ioprio_set")

def scheduler(policy, priority=0):
    os.sched_setscheduler(0, policy, os.sched_param(priority))

def write(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))

attempts = {
    "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "internet": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 0),
    "softnet": lambda: open("/proc/net/softnet_stat").read(),
    "affinity": lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]),
    "nice": lambda: os.nice(19),
    "idle": lambda: scheduler(os.SCHED_IDLE),
    "idle disk": ioprio_set,
    "real time": lambda: scheduler(os.SCHED_FIFO, 1),
    "captures": lambda: write("/var/lib/capd/probe"),
    "runtime": lambda: write("/run/capd/probe"),
    "elsewhere": lambda: write("/data/captures/probe"),
    "settings": lambda: write("/etc/capd.toml"),
    "kernel": lambda: write("/proc/sys/net/core/rmem_max"),
}
outcome = {}
for name, attempt in attempts.items():
    try:
        attempt()
        outcome[name] = "done"
    except OSError as error:
        outcome[name] = error.strerror
with open("/proc/self/status") as status:
    outcome |= dict(line.split(":\\t") for line in status.read().splitlines() if ":\\t" in line)
print(json.dumps(outcome))
"""
PROBE_UNIT = f"""
[Service]
Type=oneshot
ExecStart=
ExecStart={PYTHON} -I /usr/local/lib/probe.py
ExecStop=
Restart=no
WatchdogSec=0
"""
ASKING = f"""
[Service]
ExecStart=/bin/sleep infinity
ExecStop=+{PYTHON} -I -c "from capd.control import is_stopping as it; print(it('asking.service'))"
Restart=always
RestartSec=0
"""


@contextmanager
def dropped_in(machine: Machine, name: str, text: str) -> Iterator[None]:
    """A drop-in of capd.service."""
    machine.write_unit(f"capd.service.d/{name}.conf", text)
    try:
        yield
    finally:
        machine.remove_unit(f"capd.service.d/{name}.conf")


def probe(machine: Machine) -> dict[str, str]:
    """What the probe says when it runs as the service."""
    (machine.root / "usr" / "local" / "lib" / "probe.py").write_text(PROBE)
    with dropped_in(machine, "probe", PROBE_UNIT):
        after = machine.journal()[-1]["__CURSOR"] if machine.journal() else ""
        machine.systemctl("start", "capd")
        said = wait_for(lambda: spoken(machine, "capd", after), 10, "the probe")
    outcome: dict[str, str] = json.loads(said[0])
    return outcome


def spoken(machine: Machine, unit: str, after: str = "") -> list[str]:
    """What the processes of a unit have written to their output."""
    entries = machine.journal(unit, after)
    return [str(entry["MESSAGE"]) for entry in entries if entry["_TRANSPORT"] == "stdout"]


def test_it_boots_the_system_that_is_asked_for(machine: Machine) -> None:
    release = machine.run("cat", "/etc/os-release").stdout
    if machine.system is System.HOST:
        assert release == Path("/etc/os-release").read_text()
    else:
        assert "VERSION_CODENAME=trixie\n" in release
    assert machine.run("capd", "--version").stdout == f"capd {__version__}\n"


def test_the_units_are_in_order(machine: Machine) -> None:
    done = machine.run("systemd-analyze", "verify", UNIT, METRICS_UNIT)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.security("rating")
@pytest.mark.parametrize("unit", WORST)
@pytest.mark.parametrize("offline", [False, True], ids=["in force", "as installed"])
def test_the_confinement_is_rated(machine: Machine, unit: str, *, offline: bool) -> None:
    words = (
        ["--offline=true", UNIT.replace("capd.", f"{unit}.")] if offline else [f"{unit}.service"]
    )
    done = machine.run("systemd-analyze", "security", "--no-pager", *words, check=False)
    found = re.search(r"Overall exposure level for capd[a-z-]*.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= WORST[unit]


def test_it_has_a_user_of_its_own(machine: Machine) -> None:
    user = machine.run("getent", "passwd", "capd").stdout.strip().split(":")
    group = machine.run("getent", "group", "capd").stdout.strip().split(":")
    assert user[2] != "0"
    assert user[3] == group[2]
    assert user[5] == "/var/lib/capd"
    assert user[6].endswith("/nologin")


@pytest.mark.fault(52)
@pytest.mark.security("rights")
def test_the_service_may_do_what_it_must_and_no_more(machine: Machine) -> None:
    machine.run("install", "-d", "-o", "capd", "-g", "capd", "/data/captures")
    outcome = probe(machine)
    only_raw = f"{1 << 13:016x}"
    assert outcome["Uid"].split()[0] == machine.run("id", "-u", "capd").stdout.strip()
    assert outcome["CapBnd"] == outcome["CapEff"] == outcome["CapAmb"] == only_raw
    assert outcome["real time"] == "Operation not permitted"
    assert outcome["internet"] == "Address family not supported by protocol"
    for name in ("elsewhere", "settings", "kernel"):
        assert outcome[name] in {"Permission denied", "Read-only file system"}, name
    for name in ("packets", "netlink", "softnet", "captures", "runtime"):
        assert outcome[name] == "done", name
    for name in ("affinity", "nice", "idle", "idle disk"):
        assert outcome[name] == "done", name
    mode = (machine.captures / "probe").stat().st_mode
    assert stat.S_IMODE(mode) == 0o640


def test_another_directory_takes_the_drop_in_that_the_unit_tells_of(machine: Machine) -> None:
    text = (machine.root / UNIT[1:]).read_text()
    (told,) = re.findall(r"^#     (\[Unit\]\n(?:#     .*\n)+)", text, re.MULTILINE)
    machine.run("install", "-d", "-o", "capd", "-g", "capd", "/data/captures")
    assert probe(machine)["elsewhere"] == "Read-only file system"
    with dropped_in(machine, "directory", told.replace("#     ", "")):
        assert probe(machine)["elsewhere"] == "done"


def test_check_tries_the_directory_as_the_service_would(machine: Machine) -> None:
    """And what it says to do is all there is to do; the service refuses with the same words."""
    for directory, told in {
        "/tmp/captures": "capd.service has a /tmp of its own",
        "/home/captures": "capd.service sees nothing of /home",
        "/new/captures %": "capd.service may not write there",
    }.items():
        machine.write_config(f'[storage]\ndirectory = "{directory}"\n[[interface]]\nname = "x"\n')
        checked = machine.run("capd", "check", check=False)
        assert checked.returncode == 2
        assert f"storage.directory: cannot use {directory}: {told}" in checked.stderr
        assert machine.run("systemctl", "start", "capd", check=False).returncode == 1
        assert machine.journal_text(Kind.NOT_STARTED) == checked.stderr.strip()
    file = re.search(r"/etc/systemd/system/(\S+)$", checked.stderr, re.MULTILINE)
    sections = re.findall(r"^ {8}([\[A-Z].*)$", checked.stderr, re.MULTILINE)
    commands = re.findall(r"^ {8}([a-z].*)$", checked.stderr, re.MULTILINE)
    assert file is not None
    machine.write_unit(file[1], "\n".join(sections))
    machine.run("sh", "-ec", "\n".join(commands))
    try:
        assert machine.property("ActiveState") == "active"
        assert machine.run("capd", "check").returncode == 0
    finally:
        machine.systemctl("stop", "capd")
        machine.remove_unit(file[1])


def test_check_counts_the_rings_that_systemd_keeps(machine: Machine) -> None:
    """What is too many for it is lost at a restart."""
    for name in ("k0", "k1"):
        machine.add_veth(name, f"{name}p")
    machine.write_config('[capture]\nring_size = "8MiB"\n[[interface]]\nname = "k?"\n')
    told = "of the rings of 2 interfaces systemd keeps 1 over a restart"
    assert told not in machine.run("capd", "check").stderr
    with dropped_in(machine, "store", "[Service]\nFileDescriptorStoreMax=3\n"):
        assert told in machine.run("capd", "check").stderr
        machine.systemctl("start", "capd")
        try:
            after = machine.journal()[-1]["__CURSOR"]
            machine.systemctl("restart", "capd")
            found = [one.get("MESSAGE_ID") for one in machine.journal("capd", after)]
            assert found.count(Kind.ADOPTED.message_id) == 1
        finally:
            machine.systemctl("stop", "capd")


def test_check_by_somebody_else(machine: Machine) -> None:
    """The directory is the service's: no reason to have them take it, and no proof of anything."""
    machine.run("install", "-d", "-m", "750", "-o", "capd", "-g", "capd", "/data/captures")
    machine.write_config('[storage]\ndirectory = "/data/captures"\n[[interface]]\nname = "x"\n')
    checked = machine.run(*AS_NOBODY, "capd", "check", check=False)
    assert (checked.returncode, "chown" in checked.stderr) == (0, False), checked.stderr
    assert "warning: storage.directory: /data/captures was not tried" in checked.stderr


def test_check_where_the_disks_are_full(machine: Machine) -> None:
    """That is when somebody asks: it needs no room on any of them."""
    machine.write_config('[[interface]]\nname = "x"\n')
    full = "for each in /tmp /var/tmp; do mount -t tmpfs -o ro full $each; done; cd /proc"
    checked = machine.run("unshare", "--mount", "sh", "-ec", f"{full}; capd check", check=False)
    assert (checked.returncode, "Traceback" in checked.stderr) == (0, False), checked.stderr


def test_check_reads_and_runs_what_the_services_would(machine: Machine) -> None:
    """What it says to do is all there is to do, and of other files it says nothing."""
    machine.write_config('[alert]\ncommand = ["/opt/tell"]\n[[interface]]\nname = "x"\n')
    machine.run("install", "-D", "-m", "700", "/bin/true", "/opt/tell")
    machine.run("sh", "-ec", "umask 077; cp /etc/capd.toml /root/other.toml")
    machine.run("chmod", "600", "/etc/capd.toml")
    checked = machine.run("capd", "check", check=False)
    said, advice, command = checked.stderr.rstrip().partition("; as root: ")
    told = "/etc/capd.toml: capd.service cannot read it: Permission denied"
    assert (checked.returncode, said, bool(advice)) == (2, told, True)
    told = machine.run("capd", "check", "/root/other.toml").stderr
    assert "alert.command: cannot run /opt/tell: user capd may not; chmod a+rx /opt/tell\n" in told
    machine.run("sh", "-ec", command)
    assert machine.run("capd", "check").returncode == 0
    assert machine.run("stat", "-c", "%U:%G %a", "/etc/capd.toml").stdout == "root:capd 640\n"
    machine.run("chmod", "644", "/etc/capd.toml")


@pytest.mark.security("holds")
def test_who_may_hold(machine: Machine) -> None:
    """Members of the group, in the folder as the service made it; the journal knows who it was."""
    machine.write_config('[[interface]]\nname = "x"\n')
    machine.run("useradd", "--groups", "capd", "alice")
    machine.run("useradd", "bob")
    words = ("capd", "hold", "--since", "1h", "--reason", "case 42")
    bob = ("runuser", "-u", "bob", "--")
    machine.systemctl("start", "capd")
    try:
        for command in (words, ("capd", "hold"), ("capd", "release", "0123abcd")):
            done = machine.run(*bob, *command, check=False)
            assert (done.returncode, done.stdout) == (1, ""), command
            assert "only root and the members of the group capd may" in done.stderr
        for user in ("alice", "root"):
            made = machine.run("runuser", "-u", user, "--", *words, "--json").stdout
            identity = json.loads(made)["id"]
            wait_for(partial(records, machine, Kind.HOLDS_CHANGED, identity), 10, "the daemon")
            (told,) = records(machine, Kind.HOLD_MADE, identity)
            assert told["CAPD_BY"] == user
            assert told["_UID"] == machine.run("id", "-u", user).stdout.strip()
            machine.run("runuser", "-u", "alice", "--", "capd", "release", identity)
            (told,) = records(machine, Kind.HOLD_RELEASED, identity)
            assert told["CAPD_BY"] == "alice"
        machine.run("runuser", "-u", "alice", "--", *words, "--for", "1s")
        wait_for(lambda: machine.journal_text(Kind.HOLD_EXPIRED), 10, "the end of a hold")
        assert machine.run("capd", "hold").stdout == "nothing is held\n"
        assert machine.journal_text(Kind.HOLD_UNCLEAR) == ""
    finally:
        machine.systemctl("stop", "capd")


def records(machine: Machine, kind: Kind, identity: str) -> list[dict[str, Any]]:
    """What commands have put on record of a hold."""
    match = (f"MESSAGE_ID={kind.message_id}", f"CAPD_HOLD={identity}")
    found = machine.run("journalctl", "-o", "json", "--no-pager", *match).stdout
    return [json.loads(line) for line in found.splitlines()]


def test_systemd_tells_a_stop_from_a_restart(machine: Machine) -> None:
    """And asks for neither when the service has died."""
    machine.write_unit("asking.service", ASKING)
    machine.systemctl("start", "asking")
    machine.systemctl("restart", "asking")
    assert spoken(machine, "asking") == ["False"]
    first = machine.property("MainPID", "asking")
    machine.systemctl("kill", "--signal=KILL", "asking")
    wait_for(lambda: machine.property("MainPID", "asking") not in {"0", first}, 10, "another")
    machine.systemctl("stop", "asking")
    assert spoken(machine, "asking") == ["False", "True"]
