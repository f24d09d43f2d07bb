"""A real systemd, booted in a container over this machine's root file system, with capd installed.

`packaging/install` has put capd there; tests drive it with systemctl and journalctl, as users
do.  Its network is its own, and reachable as a namespace, so that frames can be injected.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.need import need, need_root
from tests.support.wait import wait_for

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CAPTURES = "/var/lib/capd"
# bpf: without it, IPAddressDeny is silently nothing in a container
ALLOWED = "--system-call-filter=bpf add_key keyctl"


class Machine:
    """A booted systemd; leaving the context ends it."""

    def __init__(self) -> None:
        need_root()
        need("systemd-nspawn", "nsenter", "mount")
        self._duty = ExitStack()
        self.base = Path(tempfile.mkdtemp(prefix="capd-machine-"))
        self.name = self.base.name
        self.captures = self.base / "captures"
        self._root = self.base / "root"
        self._pid = 0

    def __enter__(self) -> Self:
        with ExitStack() as duty:
            duty.callback(shutil.rmtree, self.base)
            for folder in ("up", "work", "root", "captures"):
                (self.base / folder).mkdir()
            layers = f"lowerdir=/,upperdir={self.base}/up,workdir={self.base}/work"
            _run("mount", "-t", "overlay", "overlay", "-o", layers, str(self._root))
            duty.callback(_run, "umount", str(self._root))
            _run(str(CHECKOUT / "packaging" / "install"), str(self._root))
            (self._root / "etc" / "machine-id").write_text("")
            self._boot(duty)
            self._duty = duty.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._duty.close()

    def _boot(self, duty: ExitStack) -> None:
        argv = ["systemd-nspawn", "-D", str(self._root), "-M", self.name, "--register=no"]
        argv += ["--keep-unit", "--private-network", "--capability=all", ALLOWED, "--boot"]
        argv += [f"--bind={self.captures}:{CAPTURES}", "--console=pipe"]
        environment = os.environ | {
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
        }
        container = subprocess.Popen(
            [*argv, "systemd.unit=multi-user.target"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        duty.callback(_end, container)
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
        wait_for(lambda: self._is_up(children.read_text().split()), 60, "systemd")
        names = Path("/run/netns")
        names.mkdir(exist_ok=True)
        handle = names / self.name
        handle.touch()
        duty.callback(handle.unlink)
        _run("mount", "--bind", f"/proc/{self._pid}/ns/net", str(handle))
        duty.callback(_run, "umount", str(handle))
        self.run("chown", "capd:capd", CAPTURES)

    def _is_up(self, processes: list[str]) -> bool:
        """Whether the last child of the container is a systemd that is done with booting."""
        if not processes:
            return False
        self._pid = int(processes[-1])
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        command = ["nsenter", "-t", str(self._pid), "-a", "--", *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{argv} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done

    def systemctl(self, *words: str) -> str:
        """Run systemctl inside; AssertionError when it fails."""
        return self.run("systemctl", *words).stdout

    def property(self, name: str) -> str:
        """What `systemctl show` says of the unit."""
        return self.systemctl("show", "-P", name, "capd").strip()

    def journal(self) -> list[dict[str, Any]]:
        """All entries of the unit, with their fields."""
        text = self.run("journalctl", "-u", "capd", "-o", "json", "--all", "--no-pager").stdout
        return [json.loads(line) for line in text.splitlines()]

    def write_config(self, text: str) -> None:
        """Put this into /etc/capd.toml."""
        (self._root / "etc" / "capd.toml").write_text(text)

    def add_veth(self, name: str, peer: str) -> int:
        """A pair of interfaces, up; gives the index of the first."""
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", peer)
        for one in (name, peer):
            self.run("sysctl", "-qw", f"net.ipv6.conf.{one}.disable_ipv6=1")
            self.run("ip", "link", "set", one, "up")
        return int(json.loads(self.run("ip", "-j", "link", "show", name).stdout)[0]["ifindex"])


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{argv} ended with {done.returncode}: {done.stderr}{done.stdout}")


def _end(container: subprocess.Popen[bytes]) -> None:
    container.send_signal(signal.SIGTERM)
    try:
        container.wait(60)
    except subprocess.TimeoutExpired:
        container.kill()
        container.wait()
