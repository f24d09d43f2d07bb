"""The archive process as the daemon looks after it: what it has to know, it comes to know."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from capd.daemon.archivist import AT_ONCE, Archivist
from capd.messages import Load, Salvage, encode
from capd.names import part_name
from tests.support.archive import RELAXED, plan
from tests.support.recorder import archive_of

FULL = 2000  # messages that no socket holds
BUSY = Load(1.0, late=True)


def remnants(directory: Path, *seqs: int) -> list[Path]:
    """Files of v0 that belong to nobody, and hold nothing."""
    folder = directory / "v0"
    folder.mkdir(parents=True)
    paths = [folder / part_name(seq) for seq in seqs]
    for path in paths:
        path.touch()
    return paths


async def until(there: Callable[[], object], archivist: Archivist, *seqs: int) -> None:
    """Look after it as the daemon does, though more often."""
    end = time.monotonic() + 20
    while not there():
        assert time.monotonic() < end
        archivist.observe(RELAXED)
        archivist.salvage({"v0": seqs})
        await asyncio.sleep(0.1)


async def stalled(archivist: Archivist, then: Callable[[], None]) -> None:
    """Nobody hears what is said meanwhile."""
    pid = archive_of(os.getpid())
    os.kill(pid, signal.SIGSTOP)
    for _ in range(FULL):
        archivist.observe(BUSY)
    then()
    os.kill(pid, signal.SIGCONT)


def test_what_nobody_heard_is_said_again(tmp_path: Path) -> None:
    """The files to salvage, and another plan: its socket had no room for either."""
    first, second = tmp_path / "first", tmp_path / "second"
    (one,), (other,) = remnants(first, 1), remnants(second, 2)

    async def work() -> None:
        archivist = Archivist()
        archivist.adjust(plan(first))
        archivist.observe(RELAXED)
        await until(lambda: archivist.report, archivist)
        await stalled(archivist, lambda: archivist.salvage({"v0": (1,)}))
        await until(lambda: not one.exists(), archivist, 1)
        await stalled(archivist, lambda: archivist.adjust(plan(second)))
        await until(lambda: not other.exists(), archivist, 2)
        archivist.end()

    asyncio.run(work())


def test_a_message_of_so_many_files_can_be_heard() -> None:
    """Whatever their numbers are, and a socket holds two."""
    longest = Salvage("a" * 15 + ":100", (10**18,) * AT_ONCE)
    assert len(encode(longest)) < 2**15
