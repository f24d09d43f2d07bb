"""Packets at a steady rate while workers are disturbed, and what may be left of it."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import judge
from tests.support.frames import IMIX, Stream
from tests.support.recorder import parts
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

RATE = 20_000  # packets a second
STREAM = Stream(IMIX)


@contextmanager
def steady(
    namespace: str, index: int, stream: Stream = STREAM, rate: int = RATE
) -> Iterator[FrameSource]:
    """Frames at this rate for as long as this lasts; `sent` tells how many, afterwards too."""
    over = threading.Event()
    with FrameSource(stream, index, namespace) as source:

        def inject() -> None:
            while not over.is_set():
                source.inject_at(rate, rate // 10)

        thread = threading.Thread(target=inject)
        thread.start()
        try:
            yield source
        finally:
            over.set()
            thread.join()


def more(source: FrameSource, count: int = RATE // 4) -> None:
    """Until so many frames have come from now on."""
    until = source.sent + count
    wait_for(lambda: source.sent >= until, 20, "frames")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    stat = Path(f"/proc/{pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 10, "the stop")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def assert_nothing_left(directory: Path) -> None:
    """No `.part` with a packet; a worker killed before its first one may leave an empty file."""
    for part in parts(directory, "v0"):
        assert part.stat().st_size == 0 or list(judge.packets(part)) == []


def chance() -> random.Random:
    """Random numbers that a failure can be repeated with."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)
