"""One search of stored packets: programs in a pipeline, and what they took."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from tests.bench.processes import reap
from tests.bench.stored import Archive
from tests.support.traffic import MIB

CORE = "1"  # the one that whoever is to use one core gets
_NICE = ("nice", "-n", "19")
_ENHANCED_PACKET = 6
_BLOCK = struct.Struct("=II")  # type and length


@dataclass(frozen=True)
class Search:
    """Programs, each reading what the one before writes; what the last writes is not kept."""

    name: str
    programs: tuple[tuple[str, ...], ...]
    packets: int | None = None  # that `capd extract --json` must have given
    prefix: tuple[str, ...] = _NICE

    @property
    def pinned(self) -> Search:
        """The same on one core."""
        return replace(self, prefix=("taskset", "-c", CORE, *_NICE))


@dataclass(frozen=True)
class Job:
    """The same question to several."""

    title: str
    archive: Archive
    searches: tuple[Search, ...]
    until_first: bool = False  # until the first packet is out
    once: bool = False
    cold: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a search took: seconds, and seconds of CPU of all processes."""

    seconds: float
    cpu: float


def run(search: Search) -> Outcome:
    """To the end; exits if a program fails, or does not give what it must."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        programs = _started(search, said)
        cpu = sum(_ended(program, search, said) for program in programs)
        seconds = time.perf_counter() - began
        if search.packets is not None:
            given = json.loads(_text(said).splitlines()[-1])["packets"]
            if given != search.packets:
                sys.exit(f"{search.name} gave {given:,} packets, not {search.packets:,}")
    return Outcome(seconds, cpu)


def first_packet(search: Search) -> Outcome:
    """Until the first packet is out; then nobody reads on.  CPU is that of all of it."""
    (words,) = search.programs
    began = time.perf_counter()
    with subprocess.Popen(
        [*search.prefix, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout is not None
        _read_packet(program.stdout, search)
        seconds = time.perf_counter() - began
        program.stdout.close()
        program.returncode, cpu = reap(program.pid)
    return Outcome(seconds, cpu)


def warm(files: Iterable[Path]) -> None:
    """Have all of them in the page cache."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass


def drop(files: Iterable[Path]) -> None:
    """Have none of them there."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _started(search: Search, said: IO[bytes]) -> list[subprocess.Popen[bytes]]:
    programs: list[subprocess.Popen[bytes]] = []
    for words in search.programs:
        before = programs[-1].stdout if programs else None
        program = subprocess.Popen(
            [*search.prefix, *words],
            stdin=before or subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if words is search.programs[-1] else subprocess.PIPE,
            stderr=said,
        )
        if before is not None:
            before.close()  # so that the first of two learns when the second is gone
        programs.append(program)
    return programs


def _ended(program: subprocess.Popen[bytes], search: Search, said: IO[bytes]) -> float:
    """Its seconds of CPU."""
    program.returncode, cpu = reap(program.pid)
    if program.returncode:
        sys.exit(f"{search.name}: exit status {program.returncode}: {_text(said)}")
    return cpu


def _text(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace")


def _read_packet(pipe: IO[bytes], search: Search) -> None:
    """Read blocks up to and with the first packet."""
    kind = 0
    while kind != _ENHANCED_PACKET:
        start = pipe.read(_BLOCK.size)
        if len(start) < _BLOCK.size:
            sys.exit(f"{search.name} gave no packet")
        kind, length = _BLOCK.unpack(start)
        pipe.read(length - _BLOCK.size)
