"""One run: a recorder, a burst of frames, and what came of it."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tests.bench import machine, processes
from tests.bench.recorders import Job, Recorder, Waiting
from tests.bench.running import Running, running
from tests.support.frames import Shape, Stream
from tests.support.net import Namespace
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

INJECTOR_CPU = 0
_RECORD_OVERHEAD = 32  # bytes of an Enhanced Packet Block around a packet
_QUIET_AT_START = 0.3  # seconds without work
_QUIET_AT_END = 1.5  # longer than the time-out after which a block is taken that is half filled
_PATIENCE = 900  # seconds for all that is to be compressed


@dataclass(frozen=True)
class Load:
    """The traffic of one run, and what the recorder is to do with it."""

    shape: Shape
    frames: int  # on all interfaces together
    ring: int  # bytes, for each interface
    gigabits: float | None  # a second, all together; None: as fast as they go
    interfaces: int = 1
    rotate: int = 0  # bytes, as in a Job

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
    commands: tuple[str, ...]  # as they were, FOLDER for where the files were
    frames: int
    captured: int
    cpu: float  # seconds, from just before the first frame until nothing is left to capture
    start_cpu: float  # seconds before and after that
    stop_cpu: float
    memory: int  # bytes of PSS, without the ring, when the last frame has come
    megapackets: float  # injected a second
    gigabits: float
    helpers: Helpers
    dirty: int  # bytes in the page cache that the disk did not have when the last frame came
    beside: int  # what else was done meanwhile: searches

    @property
    def loss(self) -> float:
        """In percent."""
        return 100 * (self.frames - self.captured) / self.frames

    @property
    def nanoseconds(self) -> float:
        """CPU time for each captured packet; it has no meaning without one."""
        return self.cpu * 1e9 / self.captured if self.captured else float("inf")

    @classmethod
    def restored(cls, kept: dict[str, Any]) -> Self:
        """One that was kept as JSON."""
        helpers = kept["helpers"]
        helpers = Helpers(**helpers | {"waiting": Waiting(*helpers["waiting"])})
        return cls(**kept | {"helpers": helpers, "commands": tuple(kept["commands"])})


Beside = Callable[[Recorder, Job], AbstractContextManager[list[None]]]
"""What runs beside a recorder while frames come; an entry for each time that it was done."""


@dataclass(frozen=True)
class Place:
    """Where runs take place: files below `directory`; what is below `cache` warms memory."""

    directory: Path
    cache: Path
    beside: Beside = lambda *_: nullcontext([])


def place(directory: Path) -> Place:
    """Files and all else in one directory, and nothing beside."""
    return Place(directory, directory)


def run(recorder: Recorder, load: Load, where: Place) -> Run:
    """Let `recorder` capture `load` into a fresh folder."""
    with _fresh_folder(where.directory) as folder:
        names = tuple(f"v{number}" for number in range(load.interfaces))
        job = Job(names, folder, load.ring, load.rotate)
        with Namespace() as namespace:
            one = _record(recorder, job, load, namespace, where)
        # Whatever would change the files has ended with the namespace.
        return replace(one, captured=sum(map(recorder.count, recorder.recorded(folder))))


def _record(recorder: Recorder, job: Job, load: Load, namespace: Namespace, where: Place) -> Run:
    """Everything but `captured`."""
    links = [namespace.add_veth(one, f"p{one}") for one in job.interfaces]
    lines = recorder.command_lines(job)
    machine.settle_disk()
    machine.warm_page_cache(where.cache, load.file_bytes + 2 * load.ring * load.interfaces)
    machine.settle_disk()
    with ExitStack() as stack:
        stream = Stream(load.shape)
        sources = [stack.enter_context(FrameSource(stream, link, namespace.name)) for link in links]
        recording = stack.enter_context(running(recorder, lines, job, namespace))
        one = _observe(recording, recorder, job, load, (sources, where.beside))
        commands = (shlex.join(line).replace(str(job.directory), "FOLDER") for line in lines)
        return replace(one, commands=tuple(commands))


def _observe(
    recording: Running,
    recorder: Recorder,
    job: Job,
    load: Load,
    around: tuple[Sequence[FrameSource], Beside],
) -> Run:
    sources, beside = around
    look = recording.look
    wait_for(lambda: look().read >= recorder.ahead, 60, f"{recorder.name} to compress")
    spent = (lambda: look().capturing) if recorder.compresses else (lambda: look().cpu)
    processes.wait_until_quiet(spent, _QUIET_AT_START)
    before = look()
    with beside(recorder, job) as done_beside:
        seconds = _inject(sources, load)
        meanwhile, waiting, dirty = look(), recorder.waiting(job), machine.dirty()
        memory = recording.memory()
    processes.wait_until_quiet(spent, _QUIET_AT_END)
    done = look()
    if recorder.finishes:
        wait_for(lambda: not recorder.waiting(job).segments, _PATIENCE, "the last segment")
    finished = look()
    in_all = recording.end()
    helped = meanwhile.helped - before.helped, meanwhile.read - before.read
    return Run(
        recorder=recorder.name,
        shape=load.shape.name,
        commands=(),
        frames=load.frames,
        captured=0,
        cpu=done.capturing - before.capturing,
        start_cpu=before.capturing,
        stop_cpu=in_all - finished.ended - finished.capturing,
        memory=memory,
        megapackets=load.frames / seconds / 1e6,
        gigabits=load.wire_bytes * 8 / seconds / 1e9,
        helpers=Helpers(*helped, finished.helped, finished.read, waiting),
        dirty=dirty,
        beside=len(done_beside),
    )


def floor(load: Load, directory: Path) -> float:
    """CPU nanoseconds a packet for nothing but writing the bytes."""
    machine.settle_disk()
    return machine.write_direct(directory, load.file_bytes).cpu * 1e9 / load.frames


@contextmanager
def _fresh_folder(directory: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _inject(sources: Sequence[FrameSource], load: Load) -> float:
    """Seconds that the frames took, the same share of them on each interface."""
    start = time.monotonic()
    share, rest = divmod(load.frames, len(sources))
    rate = None
    if load.gigabits is not None:
        rate = load.gigabits * 1e9 / 8 / (load.wire_bytes / load.frames) / len(sources)
    with ThreadPoolExecutor(len(sources)) as pool:
        counts = [share + (number < rest) for number in range(len(sources))]
        for one in [pool.submit(_send, *each, rate) for each in zip(sources, counts, strict=True)]:
            one.result()
    return time.monotonic() - start


def _send(source: FrameSource, count: int, rate: float | None) -> None:
    """From one core: this thread ends with it.  The recorder is free to use every core."""
    os.sched_setaffinity(0, {INJECTOR_CPU})
    if rate is None:
        source.inject(count)
    else:
        source.inject_at(rate, count)
