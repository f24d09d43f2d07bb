"""The recorders: how each is called for the same job, and where it leaves its files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.bench import processes

MIB = 2**20
# What a recorder leaves: a segment that is closed or not, or a compressed one.
_RECORDED = re.compile(r"\.pcap(ng|\d*)(\.\d+)?(\.part|\.zst|\.xz)?")
_COMPRESSED = (".zst", ".xz")
_VERSION = re.compile(r"\d+(\.\d+)+")

_CAPD_CONFIG = """\
[storage]
directory = "{directory}"
[capture]
ring_size = "{ring}"
[[interface]]
name = "{interface}"
"""
_COMPRESSION = """\
[compression]
enabled = true
"""


@dataclass(frozen=True)
class Job:
    """What a recorder is to do: a `ring` or buffer of this many bytes, files in `directory`."""

    interface: str
    directory: Path
    ring: int

    @property
    def runtime(self) -> Path:
        """Where a daemon tells how it is."""
        return self.directory / "run"


class Waiting(NamedTuple):
    """What is left to compress, and whether that is paused for the sake of capture."""

    segments: int
    paused: bool


def files(directory: Path) -> list[Path]:
    """The packets that a recorder has left, each once: raw if there are both."""
    found = {path for path in directory.rglob("*.pcap*") if _is_recorded(path)}
    return sorted(
        path for path in found if not is_compressed(path) or path.with_suffix("") not in found
    )


def is_compressed(path: Path) -> bool:
    """Whether a file of packets is one of those."""
    return path.suffix in _COMPRESSED


def no_helper(_: list[str]) -> bool:
    """No process but those that capture."""
    return False


def nothing_waits(_: Job) -> Waiting:
    """There is nothing to compress."""
    return Waiting(0, paused=False)


@dataclass(frozen=True)
class Recorder:
    """A program that records; `version` are the words that make `command` tell its version.

    `helps` tells the processes below it that compress by their command lines, and `waiting`
    what they have left to do.
    """

    name: str
    command: str
    version: tuple[str, ...]
    arguments: Callable[[Job], list[str]]
    helps: processes.Helps = no_helper
    waiting: Callable[[Job], Waiting] = nothing_waits
    recorded: Callable[[Path], list[Path]] = files
    ahead: int = 0  # bytes that the helpers are to have read before the first frame
    finishes: bool = False  # they do all that there is to do, and are waited for

    @property
    def compresses(self) -> bool:
        """Whether the helpers are at work for longer than the capture is."""
        return self.finishes or self.ahead > 0

    @property
    def program(self) -> str | None:
        """The program's path; None when it is not installed."""
        return shutil.which(self.command)

    def command_line(self, job: Job) -> list[str]:
        """The program and its arguments, which may need a config written first."""
        return [self.command, *self.arguments(job)]

    def version_number(self) -> str:
        """What the program says that it is."""
        return version_of(self.command, *self.version)


def version_of(command: str, *words: str) -> str:
    """The first number of what a program says when it is called like this."""
    program = shutil.which(command)
    if program is None:
        return "not installed"
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _is_recorded(path: Path) -> bool:
    at = path.name.index(".pcap")
    return path.is_file() and _RECORDED.fullmatch(path.name, at) is not None


def capd_arguments(job: Job, *, compress: bool = False) -> list[str]:
    """capd's words, and the config that they name."""
    config = job.directory / "capd.toml"
    text = _CAPD_CONFIG.format(
        directory=job.directory, ring=f"{job.ring}B", interface=job.interface
    )
    config.write_text(text + _COMPRESSION * compress)
    return ["run", "--config", str(config)]


def is_archive(words: list[str]) -> bool:
    """Whether this is capd's process that indexes and compresses."""
    return "capd.archive" in words


def tcpdump_arguments(job: Job) -> list[str]:
    """tcpdump's words, for one file."""
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
    return Recorder(name, command, ("--version",), capd_arguments, is_archive)


RECORDERS = (
    capd("capd", str(Path(sys.executable).parent / "capd")),
    Recorder("tcpdump", "tcpdump", ("--version",), tcpdump_arguments),
    Recorder("dumpcap", "dumpcap", ("--version",), _dumpcap),
    Recorder("netsniff-ng", "netsniff-ng", ("--version",), _netsniff),
    Recorder("daemonlogger", "daemonlogger", ("-v",), _daemonlogger),
)
