"""Recorders with something to compress beside the capture, each with the same one without."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from capd.names import SegmentName
from capd.status import read
from tests.bench.recorders import (
    RECORDERS,
    Job,
    Recorder,
    Waiting,
    capd_arguments,
    files,
    is_compressed,
    tcpdump_arguments,
)
from tests.support.traffic import START, Traffic, write_segment

MIB = 2**20
SEGMENT = 512 * MIB  # of the backlog
_AHEAD = 64 * MIB
_SECOND = 10**9
_SCRIPTS = ("zstd -q --rm", "xz -T0 -9")

Pair = tuple[Recorder, str]  # a recorder, and the name of the one that it is compared with


def pairs(directory: Path, backlog: int, *, recipe: bool) -> list[Pair]:
    """capd, and the recipe; `directory` is for what they need, `backlog` are bytes for capd."""
    capd, tcpdump = RECORDERS[:2]
    chosen = [(capd, capd.name), (_with_backlog(capd, directory, backlog), capd.name)]
    if recipe:
        rotating = replace(tcpdump, name="tcpdump -C 200", arguments=_rotating)
        scripts = [_recipe(rotating, directory, words) for words in _SCRIPTS]
        chosen += [(one, rotating.name) for one in (rotating, *scripts)]
    return chosen


def _with_backlog(capd: Recorder, directory: Path, size: int) -> Recorder:
    segment = directory / "backlog"
    write_segment(segment, SEGMENT, Traffic(pool=32 * MIB))

    def arguments(job: Job) -> list[str]:
        for seq in range(1, 1 + size // SEGMENT):
            _put(segment, job, seq)
        return capd_arguments(job, compress=True)

    return replace(
        capd,
        name="capd, backlog",
        arguments=arguments,
        waiting=_archive,
        recorded=_without_backlog,
        ahead=_AHEAD,
    )


def _put(segment: Path, job: Job, seq: int) -> None:
    """A copy as a worker leaves it: on the disk, and not in the page cache."""
    name = SegmentName(job.interface, START + seq * _SECOND, seq)
    folder = job.directory / job.interface / name.folder
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / name.file
    shutil.copyfile(segment, copy)
    with copy.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _archive(job: Job) -> Waiting:
    """As capd itself tells it, once a second."""
    told = read(str(job.runtime / "status.json")).archive
    return Waiting(told.backlog + told.raw_left, told.paused) if told else Waiting(0, paused=False)


def _without_backlog(directory: Path) -> list[Path]:
    old = SegmentName("", START, 0).folder
    return [path for path in files(directory) if path.parent.name != old]


def _rotating(job: Job) -> list[str]:
    return [*tcpdump_arguments(job), "-C", "200"]


def _recipe(rotating: Recorder, directory: Path, words: str) -> Recorder:
    """-z takes the name of a program, without arguments, so everybody has a script."""
    script = directory / words.partition(" ")[0]
    script.write_text(f'#!/bin/sh\n{words} "$1"\n')
    script.chmod(0o755)

    def arguments(job: Job) -> list[str]:
        return [*_rotating(job), "-z", str(script)]

    return replace(
        rotating,
        name=f"  -z '{words}'",
        arguments=arguments,
        helps=_is_no_tcpdump,
        waiting=_closed,
        finishes=True,
    )


def _is_no_tcpdump(words: list[str]) -> bool:
    return os.path.basename(words[0]) != "tcpdump"


def _closed(job: Job) -> Waiting:
    """All raw files but the one that is being written."""
    raw = [path for path in files(job.directory) if not is_compressed(path)]
    return Waiting(len(raw) - 1, paused=False)
