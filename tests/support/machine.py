"""A real systemd, booted in a container, with capd installed as its package would.

It runs over this machine's root file system, or over a Debian (see roots.py); a bare one gets
no capd.  What it writes there goes with it.  Tests drive it with systemctl and journalctl, as
users do.  Its network is its own, and reachable as a namespace by its name, so that frames can
be injected.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from capd.events import Kind
from tests.support import roots
from tests.support.need import need, need_namespaces, need_root
from tests.support.net import Namespace
from tests.support.roots import System
from tests.support.wait import wait_for

CAPTURES = "/var/lib/capd"
# bpf: without it, IPAddressDeny is silently nothing in a container
ALLOWED = "--system-call-filter=bpf add_key keyctl"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

BOOT = 60  # seconds that it may take
POWER_OFF = 30


class Machine:
    """A booted systemd; leaving the context ends it.  `lower` is a root file system to boot
    instead of the system's.

    captures  the directory that is /var/lib/capd there, on a real disk
    root      its root file system, to be changed
    name      of its network namespace; `net` is that namespace
    pid       of its systemd, as this machine numbers processes
    """

    def __init__(self, system: System = System.HOST, lower: Path | None = None) -> None:
        need_root()
        need("systemd-nspawn", "nsenter", "mount", "setpriv")
        need_namespaces()
        self.system = system
        self._lower = lower
        # Not /tmp, which may be memory: captures are written past the page cache.
        self.base = Path("/var/tmp") / f"capd-machine-{secrets.token_hex(4)}"
        self.name = self.base.name
        self.net = _Network(self.name)
        self.captures = self.base / "captures"
        self.root = self.base / "root"
        self.pid = 0
        self._duty = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as duty:
            self.base.mkdir(mode=0o700)
            duty.callback(shutil.rmtree, self.base)
            for folder in ("up", "work", "root", "captures"):
                (self.base / folder).mkdir()
            try:
                lower = self._lower or roots.lower(self.system)
            except roots.RootError as error:
                _lacking(f"no {self.system.value} to boot: {error}")
            layers = f"lowerdir={lower},upperdir={self.base}/up,workdir={self.base}/work"
            _run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
            duty.callback(_run, "umount", str(self.root))
            if self.system in roots.WITH_CAPD:
                roots.put_capd(self.system, self.root)
            for file in ("etc/machine-id", "etc/fstab"):
                (self.root / file).write_text("")
            self._boot(duty)
            self._duty = duty.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.said())
        self._duty.close()

    def _boot(self, duty: ExitStack) -> None:
        # Up to basic.target: what else this machine's own system starts is not wanted.
        argv = [*_in_cgroups(_own_cgroups(self.name, duty)), "setpriv", "--pdeathsig", "TERM"]
        argv += ["systemd-nspawn", "-D", str(self.root), "-M", self.name, "--register=no"]
        argv += ["--keep-unit", "--private-network", "--capability=all", ALLOWED, "--boot"]
        argv += [
            f"--bind={self.captures}:{CAPTURES}",
            "--console=pipe",
            "systemd.unit=basic.target",
        ]
        environment = os.environ | {
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
        }
        console = self.base / "console"
        with console.open("wb") as output:
            container = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        duty.callback(self._end, container)
        try:
            wait_for(lambda: self._is_up(container), BOOT, "systemd")
        except AssertionError as error:
            error.add_note(console.read_text(errors="replace")[-4000:])
            raise
        names = Path("/run/netns")
        names.mkdir(exist_ok=True)
        handle = names / self.name
        handle.touch()
        duty.callback(handle.unlink)
        _run("mount", "--bind", f"/proc/{self.pid}/ns/net", str(handle))
        duty.callback(_run, "umount", str(handle))
        for setting in ("all", "default"):
            self.net.run(["sysctl", "-qw", f"net.ipv6.conf.{setting}.disable_ipv6=1"])
        if self.system in roots.WITH_CAPD:
            self.run("chown", "capd:capd", CAPTURES)

    def _is_up(self, container: subprocess.Popen[bytes]) -> bool:
        """Whether a child of the container is a systemd that is done with booting."""
        assert container.poll() is None, f"systemd-nspawn ended with {container.returncode}"
        children = _children(container.pid)
        if not children:
            return False
        self.pid = children[-1]
        try:
            if _numbers(self.pid)[-1] != 1:
                return False
        except (FileNotFoundError, ProcessLookupError):  # one that prepared the way
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}

    def _end(self, container: subprocess.Popen[bytes]) -> None:
        container.send_signal(signal.SIGTERM)
        try:
            container.wait(POWER_OFF)
        except subprocess.TimeoutExpired:
            for child in _children(container.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)  # and with it goes every process inside
            container.kill()
            container.wait()

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        command = ["nsenter", "-t", str(self.pid), "-a", "--", *argv]
        environment = {"PATH": PATH, "LANG": "C.UTF-8"}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd="/"
        )
        if check and done.returncode:
            raise AssertionError(f"{argv} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done

    def systemctl(self, *words: str) -> str:
        """Run systemctl inside; AssertionError when it fails.

        What an order led to is in the journal afterwards.
        """
        said = self.run("systemctl", *words).stdout
        if words[0] != "show":
            self.sync()
        return said

    def sync(self) -> None:
        """Until the journal has all that was sent to it, however late its daemon gets a turn."""
        self.run("journalctl", "--sync")

    def property(self, name: str, unit: str = "capd") -> str:
        """What `systemctl show` says of the unit."""
        return self.systemctl("show", "-P", name, unit).strip()

    def pid_here(self, pid: int) -> int:
        """How this machine numbers the process that is `pid` inside."""
        inside = os.stat(f"/proc/{self.pid}/ns/pid")
        for number in [int(name) for name in os.listdir("/proc") if name.isdecimal()]:
            with suppress(FileNotFoundError, ProcessLookupError):
                numbers = _numbers(number)
                theirs = os.stat(f"/proc/{number}/ns/pid") if numbers[1:] else None
                if theirs and numbers[-1] == pid and os.path.samestat(inside, theirs):
                    return number
        raise AssertionError(f"no process {pid} in the machine")

    def journal(
        self, unit: str = "capd", after: str = "", kind: Kind | None = None
    ) -> list[dict[str, Any]]:
        """All entries of the unit, with their fields; after the one with this `__CURSOR`."""
        argv = ["journalctl", "-u", unit, "-o", "json", "--all", "--no-pager"]
        if after:
            argv.append(f"--after-cursor={after}")
        if kind is not None:
            argv.append(f"MESSAGE_ID={kind.message_id}")
        return [json.loads(line) for line in self.run(*argv).stdout.splitlines()]

    def said(self) -> str:
        """The end of its journal, of all units, for a person."""
        argv = ("journalctl", "-o", "short-precise", "--no-pager", "--lines=300")
        return self.run(*argv, check=False).stdout

    def journal_text(self, kind: Kind) -> str:
        """The newest message of this kind."""
        self.sync()
        found = self.journal(kind=kind)
        return str(found[-1]["MESSAGE"]) if found else ""

    def write_config(self, text: str) -> None:
        """Put this into /etc/capd.toml."""
        (self.root / "etc" / "capd.toml").write_text(text)

    def write_unit(self, name: str, text: str) -> None:
        """Put a unit, or a drop-in such as `capd.service.d/x.conf`, in force."""
        path = self.root / "etc" / "systemd" / "system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.systemctl("daemon-reload")

    def remove_unit(self, name: str) -> None:
        """Take back what `write_unit` has put there."""
        (self.root / "etc" / "systemd" / "system" / name).unlink()
        self.systemctl("daemon-reload")

    def add_veth(self, name: str, peer: str) -> int:
        """A pair of interfaces, up; gives the index of the first."""
        return self.net.add_veth(name, peer)


class _Network(Namespace):
    """The namespace of a machine, which comes and goes with it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def _own_cgroups(name: str, duty: ExitStack) -> list[Path]:
    """New ones, below those that this process is in; where there are none to be had, none.

    systemd-nspawn makes "payload" below the one that it is in.  Two machines in one would share all
    that their systemds make there: a service would not end while the other's runs.
    """
    made = []
    own = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in _lines("/proc/self/cgroup")}
    for line in _lines("/proc/self/mountinfo"):
        mount, _, about = line.partition(" - ")
        kind, _, options = about.split(" ", 2)  # proc(5)
        hierarchy = "" if kind == "cgroup2" else "name=systemd"
        if kind == "cgroup2" or (kind == "cgroup" and hierarchy in options.split(",")):
            cgroup = Path(f"{mount.split()[4]}{own.get(hierarchy, '')}") / name
            with suppress(OSError):
                cgroup.mkdir()
                made.append(cgroup)
                duty.callback(_remove_cgroups, cgroup)
    return made


def _in_cgroups(cgroups: list[Path]) -> list[str]:
    """A program that goes there and runs another."""
    entries = " ".join(f"{cgroup}/cgroup.procs" for cgroup in cgroups)
    return ["bash", "-c", f'for at in {entries}; do echo $$ >"$at"; done; exec "$@"', "bash"]


def _remove_cgroups(top: Path) -> None:
    """With all below, as far as nobody is in there."""
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _numbers(pid: int) -> list[int]:
    """Of a process: from here down to the namespace that it is in."""
    status = Path(f"/proc/{pid}/status").read_text()
    (numbers,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
    return [int(number) for number in numbers.split()[1:]]


def _lacking(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{argv} ended with {done.returncode}: {done.stderr}{done.stdout}")
