"""A recorder's processes in a namespace: started, looked at together, ended together."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.bench import processes
from tests.bench.recorders import Job, Recorder
from tests.support.net import Namespace
from tests.support.wait import wait_for

_BOUND = "0003"  # ETH_P_ALL: the socket has been bound; before, its protocol is 0
_START = 30  # seconds
_WORDS = 4  # lines of what one says that has ended by itself


class Running:
    """What one recorder has been started as: a process, or one for each interface."""

    def __init__(
        self, recorder: Recorder, programs: list[subprocess.Popen[str]], log: IO[str]
    ) -> None:
        self._recorder = recorder
        self._programs = programs
        self._log = log

    def look(self) -> processes.Usage:
        """What they and their children have used so far."""
        return processes.usage(self._pids, self._recorder.helps)

    def memory(self) -> int:
        """Bytes: PSS of them and their children, without rings."""
        return processes.memory(self._pids)

    def end(self) -> float:
        """Tell them to end, wait for that: all CPU seconds that they and their children used.

        OSError if one has ended before, with its last words.
        """
        total = 0.0
        for program in self._programs:
            _require_life(program, self._log)
            program.send_signal(self._recorder.ending)
        for program in self._programs:
            program.returncode, seconds = processes.reap(program.pid)
            total += seconds
        return total

    @property
    def _pids(self) -> list[int]:
        return [program.pid for program in self._programs]


@contextmanager
def running(
    recorder: Recorder, lines: list[list[str]], job: Job, namespace: Namespace
) -> Iterator[Running]:
    """The recorder as these command lines, once it captures; OSError with its words if not."""
    with (job.directory / "log").open("w+") as log:
        programs = [_start(line, job, namespace, log) for line in lines]
        numbers = {str(namespace.index(one)) for one in job.interfaces}
        what = f"{recorder.name} to capture"
        wait_for(lambda: all(_captures(one, numbers, log) for one in programs), _START, what)
        yield Running(recorder, programs, log)


def _start(line: list[str], job: Job, namespace: Namespace, log: IO[str]) -> subprocess.Popen[str]:
    """The program; the first to go, with its helpers, should memory not do for all of them."""
    program = namespace.popen(
        line,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        cwd=job.directory,
        env=os.environ | {"RUNTIME_DIRECTORY": str(job.runtime)},
    )
    Path(f"/proc/{program.pid}/oom_score_adj").write_text("1000")
    return program


def _captures(program: subprocess.Popen[str], interfaces: set[str], log: IO[str]) -> bool:
    """Whether sockets are bound to all interfaces in the namespace of the program, which lives."""
    _require_life(program, log)
    try:
        lines = Path(f"/proc/{program.pid}/net/packet").read_text().splitlines()[1:]
    except OSError:  # it ends just now
        return False
    fields = [line.split() for line in lines]
    return interfaces <= {one[4] for one in fields if one[3] == _BOUND}


def _require_life(program: subprocess.Popen[str], log: IO[str]) -> None:
    status = program.poll()
    if status is None:
        return
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    log.seek(0)
    said = log.read().splitlines()[:_WORDS]
    raise OSError(f"ended by itself with {how}: {' | '.join(said)}")
