"""What a start and a restart cost: the same `systemctl` for everybody, on a real systemd.

    packaging/setup --test && .venv/bin/python -m tests.bench.restart [--times 10] [--peers ...]

In a container each recorder is a service: capd the one of its package, the others as whoever writes
a unit for them has it, told to end by SIGINT, which writes what they hold, with a new folder for
each start.  One interface gets frames at a steady rate meanwhile.  Start-up is from systemd's exec
to the stamp of the first packet in a file.  A blackout is from the stamp of the last packet before
`systemctl restart` to that of the first after it; frames lost are those that are in no file, over
all restarts, with whatever the one that ended left in its buffer.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from capd.units import format_size, parse_size
from tests.bench import processes
from tests.bench.counting import Span
from tests.bench.recorders import RECORDERS, Job, Recorder, capd_config, peers_of
from tests.bench.report import heading, report, save, spread
from tests.bench.table import line
from tests.support.load import RATE, steady
from tests.support.machine import CAPTURES, Machine
from tests.support.wait import wait_for

_INTERFACE = "v0"
_GROWTH = 2**18  # bytes that a file has to grow by, to be one that is written
_READY = 0.3  # seconds without work: it waits for frames
_PATIENCE = 60  # seconds
_QUIET = 1.5  # seconds after the last frame until a block is taken that is not full
_WORDS = 4  # lines
_UNIT = """\
[Unit]
StartLimitIntervalSec=0
[Service]
Type=exec
ExecStart=/bin/sh {script}
KillSignal=SIGINT
TimeoutStopSec=10
"""
_SCRIPT = """\
set -e
FOLDER=$(mktemp -d {home}/XXXXXX)
for folder in {folders}; do mkdir $FOLDER/$folder; done
exec {line}
"""
_COLUMNS = (
    ("", 13),
    ("start-up, ms", 20),
    ("blackout, ms", 20),
    ("frames lost by a restart", 24),
)

Results = dict[str, Mapping[str, Any]]


def main() -> None:
    """Parses the command line, measures, prints."""
    given = _parser().parse_args()
    if os.geteuid() != 0:
        sys.exit("tests.bench.restart needs root: it boots a container and injects frames")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is taken down
    recorders = [RECORDERS[0], *(one for one in RECORDERS if one.name in given.peers)]
    with Machine() as machine:
        versions = {one.name: one.version_number() for one in recorders}
        versions["systemd"] = machine.run("systemctl", "--version").stdout.split()[1]
        about = report("tests.bench.restart", machine.captures, versions)
        about["notes"] = [
            f"{given.times} times each: median (least-most); {RATE:,} frames a second",
            f"buffers of {format_size(given.ring)}",
        ]
        print("\n".join([*heading(about), ""]), flush=True)
        index = machine.add_veth(_INTERFACE, "v1")
        results: Results = {}
        for one in recorders:
            results[one.name] = _tried(_Service(machine, one, given.ring), index, given.times)
            print(f"{one.name} done", file=sys.stderr, flush=True)
            save(given.json, about, results)
        print("\n".join(table(results)))


def table(results: Results) -> list[str]:
    """Lines, a recorder each."""
    lines = [line([title for title, _ in _COLUMNS], _COLUMNS)]
    for name, found in results.items():
        if why := found.get("why"):
            lines.append(line([name, why], _COLUMNS))
            continue
        lost = f"{found['lost'] / found['restarts']:,.1f}"
        # capd goes on in the file that it has; where no frame is missing there was no blackout.
        shown = [_spread(found["start-up, ms"])]
        shown += [_spread(found["blackouts, ms"]) if found["lost"] else "none"]
        lines.append(line([name, *shown, lost], _COLUMNS))
    return lines


def _spread(values: list[float]) -> str:
    found = spread(values)
    return f"{found['median']:.0f} ({found['least']:.0f}-{found['most']:.0f})"


@dataclass(frozen=True)
class _Service:
    """One recorder as a unit of the machine."""

    machine: Machine
    recorder: Recorder
    ring: int

    @property
    def unit(self) -> str:
        """Its name."""
        return self._name if self.is_capd else f"bench-{self._name}"

    @property
    def is_capd(self) -> bool:
        """Whether the package brings the unit along."""
        return self.recorder is RECORDERS[0]

    @property
    def _name(self) -> str:
        return self.recorder.name

    @property
    def folder(self) -> Path:
        """Where its files are, as this machine sees them."""
        return self.machine.captures / (_INTERFACE if self.is_capd else self._name)

    def install(self) -> str:
        """Make the unit, or the config: the command line."""
        if self.is_capd:
            config = capd_config(Job((_INTERFACE,), Path(CAPTURES), self.ring))
            self.machine.write_config(config)
            return "systemctl restart capd"
        self.machine.captures.chmod(0o755)  # dumpcap gives up what lets root in everywhere
        self.folder.mkdir(mode=0o755)
        job = Job((_INTERFACE,), Path("$FOLDER"), self.ring)
        command = " ".join([self.recorder.command, *self.recorder.arguments(job)])
        home = f"{CAPTURES}/{self._name}"
        folders = " ".join(self.recorder.folders)
        script = _SCRIPT.format(home=home, folders=folders, line=command)
        (self.folder / "run").write_text(script)
        self.machine.write_unit(f"{self.unit}.service", _UNIT.format(script=f"{home}/run"))
        return command

    def order(self, word: str) -> None:
        """`systemctl` with this word."""
        self.machine.systemctl(word, self.unit)

    def last_words(self) -> str:
        """Of what it has said."""
        return " | ".join(str(one["MESSAGE"]) for one in self.machine.journal(self.unit)[-_WORDS:])

    def spans(self) -> list[Span]:
        """What is in each of its files, by time."""
        found = [span for file in self._files() if (span := self.recorder.span(file)) is not None]
        return sorted(found, key=lambda span: span.first)

    def _files(self) -> list[Path]:
        return self.recorder.recorded(self.folder) if self.folder.exists() else []

    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in self._files())

    def cpu(self) -> float:
        """Seconds that its processes have used."""
        pid = self.machine.pid_here(int(self.machine.property("MainPID", self.unit)))
        return processes.usage([pid], self.recorder.helps).cpu

    def started(self) -> int:
        """When systemd has last executed it, ns since 1970."""
        micros = int(self.machine.property("ExecMainStartTimestampMonotonic", self.unit))
        return micros * 1000 + time.time_ns() - time.monotonic_ns()


@contextmanager
def _runs(service: _Service) -> Iterator[None]:
    """Started at the beginning, stopped at the end."""
    service.order("start")
    try:
        yield
    finally:
        service.order("stop")


def _wait_writing(service: _Service, before: int) -> None:
    """Until its files have grown since they had so many bytes; frames have to come meanwhile."""
    try:
        wait_for(lambda: service.size() >= before + _GROWTH, _PATIENCE, "files that grow")
    except AssertionError as error:
        raise OSError(f"writes nothing: {service.last_words()}") from error


def _tried(service: _Service, index: int, times: int) -> Mapping[str, Any]:
    """What was measured; of one that does not run the table is to say why."""
    try:
        return _measured(service, index, times)
    except OSError as error:
        return {"why": str(error)}


def _measured(service: _Service, index: int, times: int) -> Mapping[str, Any]:
    if service.recorder.program is None:
        return {"why": service.recorder.version_number()}
    command = service.install()
    startups = list(_startups(service, index, times))
    before = service.spans()
    with _runs(service):
        processes.wait_until_quiet(service.cpu, _READY)
        with steady(service.machine.name, index) as source:
            _wait_writing(service, service.size())
            for _ in range(times):
                service.order("restart")
                _wait_writing(service, service.size())  # the one before has written all it had
        time.sleep(_QUIET)
    spans = service.spans()[len(before) :]
    gaps = [(later.first - earlier.last) / 1e6 for earlier, later in pairwise(spans)]
    return {
        "command": command,
        "start-up, ms": startups,
        "blackouts, ms": gaps,
        "restarts": times,
        "frames": source.sent,
        "lost": source.sent - sum(span.packets for span in spans),
    }


def _startups(service: _Service, index: int, times: int) -> Iterator[float]:
    """Milliseconds from the exec to the first packet, each time."""
    for _ in range(times):
        size = service.size()
        with steady(service.machine.name, index), _runs(service):
            _wait_writing(service, size)
            started = service.started()
        yield (min(span.first for span in service.spans() if span.first > started) - started) / 1e6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests.bench.restart",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--times", type=int, default=10, help="default: 10")
    add("--ring", type=parse_size, default=parse_size("256MiB"), help="default: 256MiB")
    names = ",".join(recorder.name for recorder in RECORDERS[1:])
    add("--peers", type=peers_of, default=peers_of(names), help=f'default: {names}; "" for none')
    add("--json", type=Path, metavar="FILE", help="all that was measured")
    return parser


if __name__ == "__main__":
    main()
