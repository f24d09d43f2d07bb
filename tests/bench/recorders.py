"""The recorders: how each is called for the same job, and where it leaves its files."""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tests.bench import counting, processes

MIB = 2**20
ROTATE_SECONDS = 1
# What a recorder leaves: a segment that is closed or not, or a compressed one.
_RECORDED = re.compile(r"\.pcap(ng|\d*)(\.\d+)?(\.part|\.zst|\.xz)?")
_COMPRESSED = (".zst", ".xz")
_VERSION = re.compile(r"\d+(\.\d+)+")

_CAPD_CONFIG = """\
[storage]
directory = "{directory}"
[capture]
ring_size = "{ring}B"
"""
_INTERFACE = """\
[[interface]]
name = "{interface}"
"""
_ROTATION = """\
rotate_size = "{size}B"
rotate_interval = "{seconds}s"
flush_interval = "100ms"
"""
_COMPRESSION = """\
[compression]
enabled = true
"""


@dataclass(frozen=True)
class Job:
    """What a recorder is to do: a `ring` or buffer of this many bytes, files in `directory`.

    `rotate`: a new file after so many bytes, and each ROTATE_SECONDS where both are possible;
    0: one file.
    """

    interfaces: tuple[str, ...]
    directory: Path
    ring: int
    rotate: int = 0

    @property
    def interface(self) -> str:
        """The only one."""
        (interface,) = self.interfaces
        return interface

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
    """A program that records; `version` are the words that tell its version.

    `each`: one process takes one interface.  `helps` tells the processes below it that compress
    by their command lines, and `waiting` what they have left to do.
    """

    name: str
    command: str
    version: tuple[str, ...]
    arguments: Callable[[Job], list[str]]
    each: bool = False
    package: str = ""  # of Debian; empty: as the command
    folders: tuple[str, ...] = ()  # that it wants to find
    ending: signal.Signals = signal.SIGINT
    count: Callable[[Path], int] = counting.packets
    span: Callable[[Path], counting.Span | None] = counting.span
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

    def command_lines(self, job: Job) -> list[list[str]]:
        """The programs and their arguments, which may need a config or a folder made first."""
        jobs = [job]
        if self.each and len(job.interfaces) > 1:
            jobs = [
                replace(job, interfaces=(one,), directory=job.directory / one)
                for one in job.interfaces
            ]
        for one in jobs:
            for folder in ("", *self.folders):
                (one.directory / folder).mkdir(exist_ok=True)
        return [[self.command, *self.arguments(one)] for one in jobs]

    def version_number(self) -> str:
        """What the program, or its package, says that it is."""
        if self.program is None:
            return f"not installed (apt-get install {self.package or self.command})"
        return version_of(*self.version)


def version_of(*words: str) -> str:
    """The first number of what a program says when it is called like this."""
    if shutil.which(words[0]) is None:
        return "not installed"
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _is_recorded(path: Path) -> bool:
    at = path.name.index(".pcap")
    return path.is_file() and _RECORDED.fullmatch(path.name, at) is not None


def capd_arguments(job: Job, *, compress: bool = False) -> list[str]:
    """capd's words, and the config that they name."""
    config = job.directory / "capd.toml"
    config.write_text(capd_config(job) + _COMPRESSION * compress)
    return ["run", "--config", str(config)]


def capd_config(job: Job) -> str:
    """What the job comes to for capd."""
    text = _CAPD_CONFIG.format(directory=job.directory, ring=job.ring)
    if job.rotate:
        text += _ROTATION.format(size=job.rotate, seconds=ROTATE_SECONDS)
    return text + "".join(_INTERFACE.format(interface=one) for one in job.interfaces)


def is_archive(words: list[str]) -> bool:
    """Whether this is capd's process that indexes and compresses."""
    return "capd.archive" in words


def tcpdump_arguments(job: Job) -> list[str]:
    """tcpdump's words.  -C counts millions of bytes; with -G the time is in the names."""
    name = "tcpdump-%s.pcap" if job.rotate else "tcpdump.pcap"
    line = ["-i", job.interface, "-n", "-Z", "root", "-B", str(job.ring // 1024)]
    if job.rotate:
        line += ["-C", str(job.rotate // 10**6), "-G", str(ROTATE_SECONDS)]
    return [*line, "-w", str(job.directory / name)]


def _dumpcap(job: Job) -> list[str]:
    """-B before the first -i is for all of them."""
    line = ["-q", "-B", str(job.ring // MIB)]
    line += [word for one in job.interfaces for word in ("-i", one)]
    if job.rotate:
        line += ["-b", f"filesize:{job.rotate // 1024}", "-b", f"duration:{ROTATE_SECONDS}"]
    return [*line, "-w", str(job.directory / "dumpcap.pcapng")]


def _netsniff(job: Job) -> list[str]:
    """-A, -Q: it leaves the machine's sysctls and interrupts as they are.

    Its files are named by the second: by size, several in one would be written over each other.
    """
    file = job.directory if job.rotate else job.directory / "netsniff.pcap"
    line = ["--in", job.interface, "--out", str(file), "--silent", "--no-sock-mem"]
    line += ["--notouch-irq", "--ring-size", f"{job.ring // MIB}MiB"]
    return line + (["--interval", f"{ROTATE_SECONDS}sec"] if job.rotate else [])


def _daemonlogger(job: Job) -> list[str]:
    """It has no option for its buffer: libpcap's default of 2 MiB.  Names as netsniff-ng's."""
    line = ["-i", job.interface, "-l", str(job.directory), "-n", "daemonlogger.pcap"]
    return line + (["-t", str(ROTATE_SECONDS)] if job.rotate else [])


def _stenotype(job: Job) -> list[str]:
    """A block that is not full is written after a second, as with everybody, and not after ten.

    Its watchdog takes a silent link for a fault when a file lasts a second, and aborts.
    """
    line = [f"--dir={job.directory}", f"--iface={job.interface}", f"--blocks={job.ring // MIB}"]
    line += ["--blockage_sec=1", "--no_watchdogs", "--uid=root", "--gid=root", "-q"]
    if job.rotate:
        size = job.rotate // MIB  # not less than the operations that it has going at once
        line += [f"--filesize_mb={size}", f"--aiops={size}", f"--fileage_sec={ROTATE_SECONDS}"]
    return line


def capd(name: str, command: str) -> Recorder:
    """capd by this command: this checkout's, or another one to compare it with."""
    return Recorder(name, command, (command, "--version"), capd_arguments, helps=is_archive)


RECORDERS = (
    capd("capd", str(Path(sys.executable).parent / "capd")),
    Recorder("tcpdump", "tcpdump", ("tcpdump", "--version"), tcpdump_arguments, each=True),
    Recorder("dumpcap", "dumpcap", ("dumpcap", "--version"), _dumpcap, package="wireshark-common"),
    Recorder("netsniff-ng", "netsniff-ng", ("netsniff-ng", "--version"), _netsniff, each=True),
    Recorder("daemonlogger", "daemonlogger", ("daemonlogger", "-v"), _daemonlogger, each=True),
    Recorder(
        "stenotype",
        "stenotype",
        ("dpkg-query", "-W", "-f", "${Version}", "stenographer"),
        _stenotype,
        each=True,
        package="stenographer",
        folders=("PKT0", "IDX0"),
        # Told to end it waits for one more block, which a silent link does not fill; its own
        # service kills it.
        ending=signal.SIGKILL,
        recorded=counting.block_files,
        count=counting.block_packets,
        span=counting.block_span,
    ),
)


def peers_of(text: str) -> list[str]:
    """Names of recorders with commas between, as a command line has them; all but capd."""
    names = text.split(",") if text else []
    known = [recorder.name for recorder in RECORDERS[1:]]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
    return names
