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
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.bench import machine, processes
from tests.bench.recorders import Job, Recorder, files
from tests.support.frames import Shape, Stream
from tests.support.net import Namespace
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

INJECTOR_CPU = 0
_RECORD_OVERHEAD = 32  # bytes of an Enhanced Packet Block around a packet
_INTERFACE = "v0"
_QUIET_AT_START = 0.3  # seconds without work
_QUIET_AT_END = 1.5  # longer than the time-out after which libpcap takes a half-filled block
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
class Run:
    """What a recorder did with a load."""

    recorder: str
    shape: str
    frames: int
    captured: int
    cpu: float  # seconds, from just before the first frame until nothing is left to do
    start_cpu: float  # seconds before and after that
    stop_cpu: float
    memory: int  # bytes, without the ring
    megapackets: float  # injected a second
    gigabits: float

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
    with _fresh_folder(directory) as folder, Namespace() as namespace:
        index = namespace.add_veth(_INTERFACE, "v1")
        machine.settle_disk()
        machine.warm_page_cache(folder, load.file_bytes + 2 * load.ring)
        with (
            FrameSource(Stream(load.shape), index, namespace.name) as source,
            (folder / "log").open("w+") as log,
        ):
            line = recorder.command_line(Job(_INTERFACE, folder, load.ring))
            program = namespace.popen(
                line, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder
            )
            wait_for(lambda: _captures(program, log), 30, f"{recorder.name} to capture")
            processes.wait_until_quiet(program.pid, _QUIET_AT_START)
            start_cpu = processes.cpu_seconds(program.pid)
            seconds = _inject(source, load)
            processes.wait_until_quiet(program.pid, _QUIET_AT_END)
            done_cpu = processes.cpu_seconds(program.pid)
            memory = processes.own_memory(program.pid)
            program.send_signal(signal.SIGINT)
            program.returncode, whole_cpu = processes.reap(program.pid)
        (folder / "log").unlink()
        return Run(
            recorder=recorder.name,
            shape=load.shape.name,
            frames=load.frames,
            captured=sum(map(_count, files(folder))),
            cpu=done_cpu - start_cpu,
            start_cpu=start_cpu,
            stop_cpu=whole_cpu - done_cpu,
            memory=memory,
            megapackets=load.frames / seconds / 1e6,
            gigabits=load.wire_bytes * 8 / seconds / 1e9,
        )


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
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1])
