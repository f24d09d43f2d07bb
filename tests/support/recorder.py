"""capd as its users run it: `capd run` with a config file, in a test's own namespace."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from capd.status import Status, read
from tests.support.net import Namespace
from tests.support.wait import wait_for

CAPD = Path(sys.executable).with_name("capd")
_SUMMARY = re.compile(
    r"INFO +(?P<ring>\S+): received (?P<received>[\d,]+), written (?P<written>[\d,]+), "
    r"dropped (?P<lost>[\d,]+) \(ring (?P<dropped>[\d,]+), disk (?P<disk>[\d,]+), "
    r"malformed (?P<malformed>[\d,]+)\)(?:, another ring (?P<overlap>[\d,]+))?; "
    r".* in (?P<files>\d+) files?"
)


@dataclass(frozen=True)
class Summary:
    """What capd says at the end of one ring."""

    received: int
    written: int
    lost: int
    dropped: int
    disk: int
    malformed: int
    overlap: int
    files: int


class Recorder:
    """A running `capd run`; leaving the context stops it as Ctrl-C does."""

    def __init__(
        self,
        namespace: Namespace,
        config: Path,
        prefix: tuple[str, ...] = (),
        kept: Mapping[str, int] | None = None,
    ) -> None:
        """`prefix`: a program that is to start capd, such as strace and its options.

        `kept`: descriptors by the names under which systemd would hand them on.
        """
        self.runtime = tempfile.mkdtemp(prefix="capd-run-")
        kept = kept or {}
        words = [*prefix, *_handing_on(kept), "env", f"RUNTIME_DIRECTORY={self.runtime}", str(CAPD)]
        words += ["run", "--config", str(config), *["--keep-rings"] * bool(kept)]
        self._process = namespace.popen(
            words, stderr=subprocess.PIPE, pass_fds=tuple(kept.values())
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._process.poll() is None:
                self.stop()
        finally:
            print("capd said:", *self.lines, sep="\n")  # pytest shows it where a test fails
        shutil.rmtree(self.runtime)

    def wait_capturing(self, *rings: str) -> None:
        """Until capd has said that these rings take packets."""
        for ring in rings:
            self.wait_line(rf"INFO +{re.escape(ring)}: capturing ")

    def wait_line(self, pattern: str, timeout: float = 20) -> str:
        """The first line that matches, now or later."""

        def found() -> str:
            return next((line for line in list(self.lines) if re.search(pattern, line)), "")

        return wait_for(found, timeout, f"a line like {pattern!r} among {self.lines}")

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return workers_of(self.pid)

    def worker(self) -> int:
        """The process id of the only worker."""
        (pid,) = wait_for(self.workers, 10, "a worker")
        return pid

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """To the daemon."""
        self._process.send_signal(number)

    def stop(self, timeout: float = 60) -> int:
        """SIGINT, and the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait(timeout)

    def wait(self, timeout: float = 60) -> int:
        """The exit code, once capd has ended by itself."""
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def order(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another verb of capd against this daemon."""
        environment = os.environ | {"RUNTIME_DIRECTORY": self.runtime}
        argv = [str(CAPD), *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)

    def status(self) -> Status:
        """What it tells of itself at present."""
        return read(f"{self.runtime}/status.json")

    def reload(self) -> str:
        """Have the config read again, and what changed."""
        done = self.order("reload")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def totals(self, ring: str) -> dict[str, int]:
        """The sums of all that it said of rings of this name when they ended."""
        found: dict[str, int] = {}
        for line in self.lines:
            match = _SUMMARY.search(line)
            if match and match["ring"] == ring:
                for key, text in match.groupdict(default="0").items():
                    if key != "ring":
                        found[key] = found.get(key, 0) + int(text.replace(",", ""))
        return found

    def summary(self, ring: str) -> Summary:
        """What capd said of a ring when it ended."""
        for line in self.lines:
            match = _SUMMARY.search(line)
            if match and match["ring"] == ring:
                fields = match.groupdict(default="0")
                del fields["ring"]
                return Summary(**{key: int(text.replace(",", "")) for key, text in fields.items()})
        raise AssertionError(f"no summary of {ring} among {self.lines}")

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))


def workers_of(daemon: int) -> list[int]:
    """The process ids of a daemon's workers: it has other children, too."""
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    return [int(pid) for pid in children if _is_worker(pid)]


def archive_of(daemon: int) -> int:
    """The process id of a daemon's archive process; 0 if there is none."""
    for child in Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has gone meanwhile
            if b"capd.archive" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
    return 0


def _handing_on(kept: Mapping[str, int]) -> list[str]:
    """A program that does with these as sd_listen_fds_with_names(3) has it, and runs another."""
    if not kept:
        return []
    moves = " ".join(f"{to}<&{fd}" for to, fd in enumerate(kept.values(), 3))
    names = f"LISTEN_FDS={len(kept)} LISTEN_FDNAMES={':'.join(kept)}"
    return ["bash", "-c", f'exec {moves}; LISTEN_PID=$$ {names} exec "$@"', "bash"]


def _is_worker(pid: str) -> bool:
    try:
        return b"capd.capture" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):  # it has gone meanwhile
        return False


def write_config(
    path: Path,
    directory: Path,
    *interfaces: str,
    storage: str = "",
    capture: str = "",
    ring: str = "64MiB",
) -> Path:
    """A config that records `interfaces` into `directory`; further keys as TOML lines.

    It deletes nothing for want of space unless it is told to.  `ring`: how large each is where
    `capture` does not say; "": as capd has it, which may take the kernel a second for each.
    """
    if "max_usage" not in storage:
        storage += '\nmax_usage = "100%"'
    if ring and "ring_size" not in capture:
        capture += f'\nring_size = "{ring}"'
    tables = "\n".join(f'[[interface]]\nname = "{name}"' for name in interfaces)
    path.write_text(
        f'[storage]\ndirectory = "{directory}"\n{storage}\n[capture]\n{capture}\n{tables}\n'
    )
    return path


def segments(directory: Path, ring: str) -> list[Path]:
    """The finished segments of a ring, in the order of their numbers."""
    found = (directory / ring).glob("*/*.pcapng")
    return sorted(found, key=lambda path: int(path.stem.rpartition("_")[2]))


def parts(directory: Path, ring: str) -> list[Path]:
    """The files of a ring that have no final name."""
    return sorted((directory / ring).glob("*.part"))
