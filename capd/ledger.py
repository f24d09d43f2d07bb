"""The ledger on the disk: its folder in the capture directory, its files, and reading them.

    capd-loss-ledger/losses.jsonl      records, one a line (`losses`), the newest last
    capd-loss-ledger/losses.1.jsonl    those before, once there were MOST bytes of them
    capd-loss-ledger/<UTC stamp>_<interface>_<stage>.jsonl
                                       samples from around a loss: a JSON object a line

A line that is cut off or not understood is counted and left out.  Everything is relative to the
folder's descriptor and follows no symbolic link.  The daemon writes (`daemon.book`), nobody else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from capd.errors import StorageError
from capd.folders import DIRECTORY
from capd.losses import Loss, decode
from capd.names import LEDGER_FOLDER
from capd.units import SECOND

RECORDS = "losses.jsonl"
RECORDS_BEFORE = "losses.1.jsonl"
MOST = 8 * 2**20  # bytes of one file of records
MACHINE = "machine"  # where a loss is of no single interface

_SAMPLES = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{9}Z_[^/]+_[a-z]+\.jsonl")


@dataclass
class Records:
    """What was read."""

    losses: list[Loss] = field(default_factory=list)  # in the order in which they were written
    troubles: list[str] = field(default_factory=list)  # what is missing, and why
    begins: int = 0  # ns since 1970: of what had ended before, records may be gone; 0: all are here


def samples_name(interface: str, stage: str, since: int) -> str:
    """The name of the file with samples from around a loss that began then (ns since 1970)."""
    seconds, nanoseconds = divmod(since, SECOND)
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    return f"{moment}.{nanoseconds:09d}Z_{interface or MACHINE}_{stage}.jsonl"


def is_samples(name: str) -> bool:
    """Whether a name is that of a file with samples."""
    return _SAMPLES.fullmatch(name) is not None


@contextlib.contextmanager
def opened(directory: str) -> Iterator[int | None]:
    """The ledger's folder, to read; None if there is none yet.  StorageError."""
    path, fds = directory, []
    try:
        fds.append(os.open(directory, DIRECTORY))
        path = f"{directory}/{LEDGER_FOLDER}"
        with contextlib.suppress(FileNotFoundError):
            fds.append(os.open(LEDGER_FOLDER, DIRECTORY, dir_fd=fds[0]))
    except OSError as error:
        for fd in fds:
            os.close(fd)
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    try:
        yield fds[1] if len(fds) == 2 else None
    finally:
        for fd in fds:
            os.close(fd)


def records(folder: int, most: int = 2 * MOST) -> Records:
    """The records, each once; of more than `most` bytes in a file, those at its end."""
    read = Records()
    # In this order: what is renamed meanwhile is read twice, rather than never.
    newer, older = (_content(folder, name, most, read) for name in (RECORDS, RECORDS_BEFORE))
    for name, lines in ((RECORDS_BEFORE, older), (RECORDS, newer)):
        broken = 0
        for line in lines:
            try:
                read.losses.append(decode(line))
            except ValueError:
                broken += 1
        if name == RECORDS_BEFORE and read.losses:  # they are written when they end
            read.begins = max(read.losses[0].since, read.losses[0].until or 0)
        if broken:
            read.troubles.append(
                f"{broken} line{'' if broken == 1 else 's'} of {name} cannot be understood"
            )
    read.losses = _once(read.losses)
    return read


def samples(folder: int, name: str) -> tuple[list[dict[str, Any]], int]:
    """The samples in a file, and how many lines of it cannot be understood; none if it is gone.

    StorageError.
    """
    if not is_samples(name):
        raise StorageError(f"{name!r} is no name of a file with samples")
    try:
        lines = _lines(folder, name, MOST)
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise StorageError(f"cannot read {name}: {error.strerror}") from error
    found, broken = [], 0
    for line in lines:
        try:
            sample = json.loads(line)
        except (ValueError, RecursionError):
            sample = None
        if isinstance(sample, dict):
            found.append(sample)
        else:
            broken += 1
    return found, broken


def _once(losses: list[Loss]) -> list[Loss]:
    """A daemon that was killed after it told one may have told it again."""
    found = {(one.interface, one.stage, one.since, one.packets): one for one in reversed(losses)}
    return list(reversed(found.values()))


def _content(folder: int, name: str, most: int, read: Records) -> list[bytes]:
    try:
        return _lines(folder, name, most)
    except FileNotFoundError:
        return []
    except OSError as error:
        read.troubles.append(f"cannot read {name}: {error.strerror}")
        return []


def _lines(folder: int, name: str, most: int) -> list[bytes]:
    """The whole lines among the last `most` bytes, and what follows the last of them.  OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if status.st_size > most:
            file.seek(status.st_size - most)
            file.readline(most)
        return [line for line in file.read(most).split(b"\n") if line.strip()]
