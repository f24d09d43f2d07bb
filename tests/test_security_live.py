"""Who may do what, on a booted systemd: each process's rights, and what they are not enough for."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine import CAPTURES, Machine
from tests.support.recorder import archive_of, workers_of
from tests.support.service import main_pid, workers
from tests.support.wait import wait_for

PYTHON = "/usr/lib/capd/bin/python"
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
NO_RIGHTS, RAW = f"{0:016x}", f"{1 << 13:016x}"
CONFIG = f"""
[storage]
directory = "{CAPTURES}"
[capture]
ring_size = "4MiB"
flush_interval = "20ms"
[compression]
enabled = true
[alert]
command = ["{PYTHON}", "-I", "/usr/local/lib/probe.py", "%s"]
[[interface]]
name = "t*[0-9]"
"""
# Each of these is tried by the command of an alert, and by whatever else is told to.
PROBE = """
import ctypes, json, mmap, os, socket, sys

libc = ctypes.CDLL(None, use_errno=True)
PTRACE, BPF, MOUNT = {"x86_64": (101, 321, 165), "aarch64": (117, 280, 40)}[os.uname().machine]
SEIZE, USER, EXEC = 0x4206, 0x10000000, 4

def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")

def store():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("/run/systemd/notify")
        socket.send_fds(sock, [b"FDSTORE=1\\nFDNAME=intruder"], [0])

with open("/run/pids") as file:
    pids = json.load(file)
attempts = {
    "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "bpf": lambda: called(libc.syscall(BPF, 0, None, 0)),
    "mount": lambda: called(libc.syscall(MOUNT, b"none", b"/mnt", b"tmpfs", 0, None)),
    "become root": lambda: os.setuid(0),
    "code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_READ | EXEC),
    "settings": lambda: open("/etc/capd.toml", "w"),
}
for name, pid in pids.items():
    attempts |= {
        f"trace {name}": lambda pid=pid: called(libc.syscall(PTRACE, SEIZE, pid, 0, 0)),
        f"memory of {name}": lambda pid=pid: open(f"/proc/{pid}/mem", "rb"),
    }
attempts["namespace"] = lambda: called(libc.unshare(USER))  # the last: it is somebody else there
fds = sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
             if os.path.exists(f"/proc/self/fd/{fd}"))
outcome = {"done": [], "environment": sorted(os.environ), "fds": fds, "uid": os.getuid()}
for name, attempt in attempts.items():
    try:
        attempt()
        outcome["done"].append(name)
    except OSError:
        continue
if sys.argv[1:]:
    store()
print("said", json.dumps(outcome), flush=True)
"""
# Returns when systemd has dealt with it.
STORE = """
import os, socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.connect("/run/systemd/notify")
    socket.send_fds(sock, [b"FDSTORE=1\\nFDPOLL=0\\nFDNAME=intruder"], [os.memfd_create("x")])
    reader, writer = os.pipe()
    socket.send_fds(sock, [b"BARRIER=1"], [writer])
os.close(writer)
os.read(reader, 1)
"""
AS_DAEMON = f"""
[Service]
Type=oneshot
ExecStart=
ExecStart={PYTHON} -I /usr/local/lib/probe.py
ExecStop=
Restart=no
WatchdogSec=0
"""


@pytest.fixture
def recording(machine: Machine, interface: tuple[str, int]) -> Iterator[Machine]:
    """One whose capd records an interface, and has an archive process."""
    (machine.root / "usr/local/lib/probe.py").write_text(PROBE)
    machine.write_config(CONFIG % "hunter2")
    machine.systemctl("start", "capd")
    wait_for(lambda: workers(machine), 20, "a worker")
    wait_for(lambda: archive_of(main_pid(machine)), 20, "the archive process")
    write_pids(machine)
    yield machine
    machine.systemctl("stop", "capd")


def write_pids(machine: Machine) -> None:
    """Of whom a probe is to try to look into."""
    daemon = main_pid(machine)
    numbers = {"daemon": daemon, "worker": workers_of(daemon)[0], "archive": archive_of(daemon)}
    inside = {name: inner(pid) for name, pid in numbers.items()}
    (machine.root / "usr/local/lib/pids.json").write_text(json.dumps(inside))
    machine.run("cp", "/usr/local/lib/pids.json", "/run/pids")


def inner(pid: int) -> int:
    """How a process is numbered there."""
    return int(re.findall(r"(?m)^NSpid:.*\t(\d+)$", Path(f"/proc/{pid}/status").read_text())[0])


def rights(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"(?m)^(Cap\w+|NoNewPrivs|Seccomp|Groups|Uid):\t(.*)$", text))
    core = re.findall(
        r"(?m)^Max core file size +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text()
    )
    return found | {"core": " ".join(core[0]), "Uid": found["Uid"].split()[1]}


def probed(text: str) -> dict[str, Any]:
    """What the probe has said."""
    (found,) = re.findall(r"(?m)^said (.*)$", text)
    said: dict[str, Any] = json.loads(found)
    return said


@pytest.mark.security("rights", "ptrace", "cores")
def test_what_each_process_may(recording: Machine) -> None:
    """CAP_NET_RAW where a ring is opened and read; none where files are unpacked."""
    daemon = main_pid(recording)
    user = recording.run("id", "-u", "capd").stdout.strip()
    for pid, caps in (
        (daemon, RAW),
        (workers(recording)[0], RAW),
        (archive_of(daemon), NO_RIGHTS),
    ):
        found = rights(pid)
        assert found["CapEff"] == found["CapPrm"] == found["CapAmb"] == caps
        assert found["CapBnd"] == RAW
        assert (found["NoNewPrivs"], found["Seccomp"], found["core"]) == ("1", "2", "0 0")
        assert found["Uid"] == user
    own = {
        os.stat(f"/proc/{archive_of(daemon)}/fd/{fd}").st_ino for fd in _sockets(archive_of(daemon))
    }
    assert own
    assert not own & _packet_sockets(daemon)
    assert _packet_sockets(daemon) & {
        os.stat(f"/proc/{workers(recording)[0]}/fd/{fd}").st_ino
        for fd in _sockets(workers(recording)[0])
    }


def _sockets(pid: int) -> list[str]:
    found = f"/proc/{pid}/fd"
    return [fd for fd in os.listdir(found) if os.readlink(f"{found}/{fd}").startswith("socket:")]


def _packet_sockets(pid: int) -> set[int]:
    """The inodes of all in its network."""
    lines = Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]
    return {int(line.split()[-1]) for line in lines}


@pytest.mark.security("hooks", "ptrace", "fd store")
def test_what_a_command_of_the_config_may(recording: Machine) -> None:
    """Nothing that a process of the user capd without rights may not; it holds nothing of capd."""
    kept = recording.property("NFileDescriptorStore")
    said = probed(recording.run("capd", "alert", "--test").stdout)
    of_archive = {f"{what} archive" for what in ("trace", "memory of")}
    # As far as the kernel lets anybody: the archive process has no right either.
    assert set(said["done"]) <= {"namespace", "code"} | of_archive
    if not YAMA.exists() or YAMA.read_text() == "0\n":
        assert of_archive <= set(said["done"])  # so it is their right that keeps others out
    assert str(said["uid"]) == recording.run("id", "-u", "capd").stdout.strip()
    assert {name for name in said["environment"] if not name.startswith("CAPD_")} <= {
        *("HOME", "INVOCATION_ID", "JOURNAL_STREAM", "LANG", "LOGNAME", "PATH"),
        *("RUNTIME_DIRECTORY", "SHELL", "SYSTEMD_EXEC_PID", "USER", "MEMORY_PRESSURE_WATCH"),
        *("MEMORY_PRESSURE_WRITE", "LC_CTYPE", "TRIGGER_PATH", "TRIGGER_UNIT"),
    }
    assert [re.sub(r"[:/].*", "", one) for one in said["fds"]] == ["", "pipe", "pipe"]
    assert recording.property("NFileDescriptorStore") == kept


@pytest.mark.security("fd store")
@pytest.mark.parametrize("access", ["main", "all"])
def test_who_can_put_descriptors_into_the_store(recording: Machine, access: str) -> None:
    """Not one of the service's other processes, as which this goes; with "all" it could."""
    drop_in = f"[Service]\nNotifyAccess={access}\n"
    recording.write_unit("capd.service.d/access.conf", drop_in)
    try:
        kept = int(recording.property("NFileDescriptorStore"))
        group = Path(f"/proc/{main_pid(recording)}/cgroup").read_text().rpartition(":")[2].strip()
        within = f"/sys/fs/cgroup/{group[group.index('system.slice') :]}/cgroup.procs"
        recording.run("sh", "-ec", f'echo $$ >{within}; exec {PYTHON} -I -c "$0"', STORE)
        now = int(recording.property("NFileDescriptorStore"))
        assert now - kept == (access == "all")
    finally:
        recording.remove_unit("capd.service.d/access.conf")


@pytest.mark.security("seccomp", "ptrace")
def test_what_the_daemon_may(recording: Machine) -> None:
    """In the confinement of its unit: packets, which it is for, and nothing else of this."""
    recording.systemctl("stop", "capd")
    recording.write_unit("capd.service.d/probe.conf", AS_DAEMON)
    try:
        recording.run("sh", "-c", "printf '{\"init\": 1}' >/run/pids")
        recording.systemctl("start", "capd")
        text = recording.run("journalctl", "-u", "capd", "-o", "cat", "--no-pager").stdout
    finally:
        recording.remove_unit("capd.service.d/probe.conf")
    assert probed(text)["done"] == ["packets"]


@pytest.mark.security("modes")
def test_who_may_read_and_write_what(recording: Machine) -> None:
    """Nobody but the user capd writes, nobody but its group reads."""
    recording.run("capd", "hold", "--since", "1h", "--reason", "case 42")
    recording.run("capd", "alert", "--test")
    found = recording.run("find", "/run/capd", CAPTURES, "-printf", "%y %m %u:%g %p\n").stdout
    entries = [line.split(maxsplit=3) for line in found.splitlines()]
    assert {"/run/capd/control.sock", "/run/capd/capd.toml"} <= {entry[3] for entry in entries}
    for kind, mode, owner, path in entries:
        bits = int(mode, 8)
        assert not bits & stat.S_IRWXO, path
        assert owner in {"capd:capd", "root:capd"}, path
        if kind == "f":
            assert bits in {0o640, 0o600}, path
        elif kind == "d":
            shared = path.endswith(("/events", "/results", "/capd-held-ranges"))
            assert bits in ({0o770, 0o750} if shared else {0o750}), path
    assert [entry[1] for entry in entries if entry[3] == "/run/capd/capd.toml"] == ["600"]


@pytest.mark.security("isolation")
def test_no_code_of_others_is_run(recording: Machine) -> None:
    """Wherever root stands, and whatever its environment says, when it asks capd something."""
    trap = "import os; os.close(os.open('/run/trapped', os.O_CREAT))"
    place = "/usr/local/lib/traps"
    names = ("json", "capd", "pydantic", "rich", "ctypes", "sitecustomize", "usercustomize")
    recording.run("mkdir", "-p", f"{place}/bin")
    for name in names:
        (recording.root / place[1:] / f"{name}.py").write_text(trap)
    told = [f"{name}={place}" for name in ("PYTHONPATH", "PYTHONHOME", "HOME", "PYTHONUSERBASE")]
    told += [f"PYTHONSTARTUP={place}/json.py", "PYTHONINSPECT=1", f"PYTHONPLATLIBDIR={place}"]
    for words in (["status"], ["list"], ["check"], ["losses"], ["alert", "--test"], ["reload"]):
        recording.run("env", f"--chdir={place}", *told, "capd", *words)
    assert recording.run("ls", "/run/trapped", check=False).returncode == 2
    control = recording.run("env", f"--chdir={place}", "python3", "-c", "import json", check=False)
    assert control.returncode == 0
    assert recording.run("ls", "/run/trapped").returncode == 0  # so it is a trap
    recording.run("rm", "/run/trapped")


@pytest.mark.security("secrets")
def test_a_password_in_a_command_is_told_nowhere(recording: Machine) -> None:
    """Not by a reload, not by a config that is refused, not by a command that fails."""
    for config in (
        CONFIG % "hunter22",
        CONFIG.replace("[alert]", "[alert]\npackets = 0") % "hunter23",
    ):
        recording.write_config(config)
        recording.run("systemctl", "reload", "capd", check=False)
    broken = re.sub(r"command = \[.*\]", 'command = ["/bin/false", "hunter24"]', CONFIG)
    recording.write_config(broken)
    recording.systemctl("reload", "capd")
    failed = recording.run("capd", "alert", "--test", check=False)
    assert "/bin/false: status 1" in failed.stdout
    told = [failed.stdout, failed.stderr, recording.run("capd", "status").stdout]
    told.append(recording.run("cat", "/run/capd/status.json").stdout)
    told.append(recording.run("journalctl", "--no-pager", "-o", "verbose", "--all").stdout)
    assert "alert.command" in told[-1]
    assert [text for text in told if "hunter2" in text] == []
