"""One run: a recorder, a burst of frames, and what came of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from tests.bench import machine, processes
from tests.bench.recorders import Job, Recorder, Waiting
from tests.support.frames import Shape, Stream
from tests.support.net import Namespace
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

INJECTOR_CPU = 0
_RECORD_OVERHEAD = 32  # bytes of an Enhanced Packet Block around a packet
_INTERFACE = "v0"
_QUIET_AT_START = 0.3  # seconds without work
_QUIET_AT_END = 1.5  # longer than the time-out after which libpcap takes a half-filled block
_PATIENCE = 900  # seconds for all that is to be compressed
_BOUND = "0003"  # ETH_P_ALL: the socket has been bound; before, its protocol is 0


@dataclass(frozen=True)
class Load:
    """The traffic of one run, and the buffer that the recorder has for it."""

    shape: Shape
    frames: int
    ring: int  # bytes
    gigabits: float | None  # a second; None: as fast as they go

    @property
    def wire_bytes(self) -> int:
        """Of all frames."""
        lengths = self.shape.lengths
        return sum(length * len(range(i, self.frames, len(lengths)))
                   for i, length in enumerate(lengths))  # fmt: skip

    @property
    def file_bytes(self) -> int:
        """What they come to as pcapng."""
        return self.wire_bytes + _RECORD_OVERHEAD * self.frames


@dataclass(frozen=True)
class Helpers:
    """What the processes that compress did, which is in none of the other figures but memory."""

    cpu: float  # seconds, while frames were injected
    read: int  # bytes, meanwhile
    whole_cpu: float  # the same from their start until they had nothing to do, or were stopped
    whole_read: int
    waiting: Waiting  # when all was injected


@dataclass(frozen=True)
class Run:
    """What a recorder did with a load."""

    recorder: str
    shape: str
    frames: int
    captured: int
    cpu: float  # seconds, from just before the first frame until nothing is left to capture
    start_cpu: float  # seconds before and after that
    stop_cpu: float
    memory: int  # bytes, without the ring
    megapackets: float  # injected a second
    gigabits: float
    helpers: Helpers

    @property
    def loss(self) -> float:
        """In percent."""
        return 100 * (self.frames - self.captured) / self.frames

    @property
    def nanoseconds(self) -> float:
        """CPU time for each captured packet; it has no meaning without one."""
        return self.cpu * 1e9 / self.captured if self.captured else float("inf")


def run(recorder: Recorder, load: Load, directory: Path) -> Run:
    """Let `recorder` capture `load` into a fresh folder below `directory`."""
    with _fresh_folder(directory) as folder:
        job = Job(_INTERFACE, folder, load.ring)
        with Namespace() as namespace:
            one = _record(recorder, job, load, namespace)
        # Whatever would change the files has ended with the namespace.
        return replace(one, captured=sum(map(_count, recorder.recorded(folder))))


def _record(recorder: Recorder, job: Job, load: Load, namespace: Namespace) -> Run:
    """Everything but `captured`."""
    index = namespace.add_veth(_INTERFACE, "v1")
    line = recorder.command_line(job)
    machine.settle_disk()
    machine.warm_page_cache(job.directory, load.file_bytes + 2 * load.ring)
    with (
        FrameSource(Stream(load.shape), index, namespace.name) as source,
        (job.directory / "log").open("w+") as log,
    ):
        program = _start(line, job, namespace, log)
        wait_for(lambda: _captures(program, log), 30, f"{recorder.name} to capture")
        return _observe(program, recorder, job, load, source)


def _observe(
    program: subprocess.Popen[str], recorder: Recorder, job: Job, load: Load, source: FrameSource
) -> Run:
    look = partial(processes.usage, program.pid, recorder.helps)
    wait_for(lambda: look().read >= recorder.ahead, 60, f"{recorder.name} to compress")
    spent = (lambda: look().capturing) if recorder.compresses else (lambda: look().cpu)
    processes.wait_until_quiet(spent, _QUIET_AT_START)
    before = look()
    seconds = _inject(source, load)
    meanwhile, waiting = look(), recorder.waiting(job)
    processes.wait_until_quiet(spent, _QUIET_AT_END)
    done, memory = look(), processes.own_memory(program.pid)
    if recorder.finishes:
        wait_for(lambda: not recorder.waiting(job).segments, _PATIENCE, "the last segment")
    finished = look()
    program.send_signal(signal.SIGINT)
    program.returncode, in_all = processes.reap(program.pid)
    helped = meanwhile.helped - before.helped, meanwhile.read - before.read
    return Run(
        recorder=recorder.name,
        shape=load.shape.name,
        frames=load.frames,
        captured=0,
        cpu=done.capturing - before.capturing,
        start_cpu=before.capturing,
        stop_cpu=in_all - finished.ended - finished.capturing,
        memory=memory,
        megapackets=load.frames / seconds / 1e6,
        gigabits=load.wire_bytes * 8 / seconds / 1e9,
        helpers=Helpers(*helped, finished.helped, finished.read, waiting),
    )


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


def floor(load: Load, directory: Path) -> float:
    """CPU nanoseconds a packet for nothing but writing the bytes."""
    machine.settle_disk()
    return machine.write_direct(directory, load.file_bytes) * 1e9 / load.frames


@contextmanager
def _fresh_folder(directory: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _captures(program: subprocess.Popen[str], log: IO[str]) -> bool:
    if program.poll() is not None:
        log.seek(0)
        raise OSError(f"{program.args!r} ended with {program.returncode}: {log.read()}")
    lines = Path(f"/proc/{program.pid}/net/packet").read_text().splitlines()[1:]
    return any(line.split()[3] == _BOUND for line in lines)


def _inject(source: FrameSource, load: Load) -> float:
    """Seconds that the frames took.  The recorder is free to use every core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {INJECTOR_CPU})
    try:
        start = time.monotonic()
        if load.gigabits is None:
            source.inject(load.frames)
        else:
            mean = load.wire_bytes / load.frames
            source.inject_at(load.gigabits * 1e9 / 8 / mean, load.frames)
        return time.monotonic() - start
    finally:
        os.sched_setaffinity(0, cores)


def _count(file: Path) -> int:
    """Packets in a file, as Wireshark counts them; a last one cut short does not count."""
    words = ["capinfos", "-M", "-c", "-r", "-T", str(file)]
    if file.suffix == ".xz":
        with tempfile.NamedTemporaryFile(dir=file.parent) as raw:
            subprocess.run(["xz", "-dcT0", str(file)], stdout=raw, check=True)
            return _count(Path(raw.name))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1])
