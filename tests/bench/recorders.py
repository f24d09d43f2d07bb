"""The recorders: how each is called for the same job, and where it leaves its files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
_VERSION = re.compile(r"\d+(\.\d+)+")

_CAPD_CONFIG = """\
[storage]
directory = "{directory}"
[capture]
ring_size = "{ring}"
[[interface]]
name = "{interface}"
"""


@dataclass(frozen=True)
class Job:
    """What a recorder is to do: a `ring` or buffer of this many bytes, files in `directory`."""

    interface: str
    directory: Path
    ring: int


@dataclass(frozen=True)
class Recorder:
    """A program that records; `version` are the words that make `command` tell its version."""

    name: str
    command: str
    version: tuple[str, ...]
    arguments: Callable[[Job], list[str]]

    @property
    def program(self) -> str | None:
        """The program's path; None when it is not installed."""
        return shutil.which(self.command)

    def command_line(self, job: Job) -> list[str]:
        """The program and its arguments, which may need a config written first."""
        return [self.command, *self.arguments(job)]

    def version_number(self) -> str:
        """What the program says that it is."""
        if self.program is None:
            return "not installed"
        argv = [self.program, *self.version]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        found = _VERSION.search(done.stdout + done.stderr)
        return found[0] if found else "unknown"


def files(directory: Path) -> list[Path]:
    """The files that a recorder has left, without capd's settings."""
    return sorted(
        path for path in directory.rglob("*") if path.is_file() and path.suffix != ".toml"
    )


def _capd(job: Job) -> list[str]:
    config = job.directory / "capd.toml"
    ring = f"{job.ring}B"
    config.write_text(
        _CAPD_CONFIG.format(directory=job.directory, ring=ring, interface=job.interface)
    )
    return ["run", "--config", str(config)]


def _tcpdump(job: Job) -> list[str]:
    file = str(job.directory / "tcpdump.pcap")
    return ["-i", job.interface, "-n", "-Z", "root", "-B", str(job.ring // 1024), "-w", file]


def _dumpcap(job: Job) -> list[str]:
    file = str(job.directory / "dumpcap.pcapng")
    return ["-i", job.interface, "-q", "-B", str(job.ring // MIB), "-w", file]


def _netsniff(job: Job) -> list[str]:
    """-A, -Q: it leaves the machine's sysctls and interrupts as they are."""
    file = str(job.directory / "netsniff.pcap")
    line = ["--in", job.interface, "--out", file, "--silent", "--no-sock-mem", "--notouch-irq"]
    return [*line, "--ring-size", f"{job.ring // MIB}MiB"]


def _daemonlogger(job: Job) -> list[str]:
    """It has no option for its buffer: libpcap's default of 2 MiB."""
    return ["-i", job.interface, "-l", str(job.directory), "-n", "daemonlogger.pcap"]


def capd(name: str, command: str) -> Recorder:
    """capd by this command: this checkout's, or another one to compare it with."""
    return Recorder(name, command, ("--version",), _capd)


RECORDERS = (
    capd("capd", str(Path(sys.executable).parent / "capd")),
    Recorder("tcpdump", "tcpdump", ("--version",), _tcpdump),
    Recorder("dumpcap", "dumpcap", ("--version",), _dumpcap),
    Recorder("netsniff-ng", "netsniff-ng", ("--version",), _netsniff),
    Recorder("daemonlogger", "daemonlogger", ("-v",), _daemonlogger),
)
