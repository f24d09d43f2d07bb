"""What the words have in common: saying something; the config and the times that are meant."""

from __future__ import annotations

import argparse
import errno
import io
import os
import resource
import sys
from typing import NoReturn, TextIO

from capd.errors import StorageError, UsageError
from capd.units import format_size, readable

DEFAULT_CONFIG = "/etc/capd.toml"
TIMES = '"2h" (ago), "today", "03:12", "2026-11-24 03:12:05"; in UTC'

_NO_MEMORY = ("failed to map segment", "Cannot allocate memory")  # for a library
_NO_THREAD = "can't start new thread"

Words = argparse._SubParsersAction  # noqa: SLF001  it has no other name


def say(text: str, *, styled: bool = False) -> None:
    """Print, and be sure of it; names and reasons of others move no cursor, unless `styled`."""
    if sys.stdout is None:  # closed by who started this: `>&-`
        raise StorageError("cannot write what there is to say: stdout is closed")
    try:
        print(text if styled else readable(text), flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)
        raise StorageError(f"cannot write what there is to say: {error.strerror}") from error


class Paper(io.StringIO):
    """What is drawn for standard output, with as much as that can show, before any of it is said.

    rich writes to its file at once, and even nothing at all is refused by /dev/full.
    """

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of standard output."""
        return "utf-8" if sys.stdout is None else sys.stdout.encoding

    def isatty(self) -> bool:
        """Whether standard output is a terminal."""
        return sys.stdout is not None and sys.stdout.isatty()


def warn(text: str) -> None:
    """The same to standard error; where that takes nothing, there is the exit code."""
    try:
        print(readable(text), file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def shortage(error: BaseException) -> str | None:
    """What there is too little of, and what to raise, if that is why something failed."""
    text = str(error)
    # In this order: "Too many open files in system" begins with what the other one is.
    if getattr(error, "errno", None) == errno.ENFILE or os.strerror(errno.ENFILE) in text:
        return "this machine has no file left to be opened: raise fs.file-max (sysctl)"
    if getattr(error, "errno", None) == errno.EMFILE or os.strerror(errno.EMFILE) in text:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"a process may open {limit} files here, and that is not enough: raise ulimit -n"
    is_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    is_memory = is_memory or any(words in text for words in _NO_MEMORY)
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        if _NO_THREAD in text:
            return "no more threads may be started here: raise ulimit -u, or TasksMax= of the unit"
        return "there is too little memory" if is_memory else None
    # SystemError comes from within Python, where memory ended
    if is_memory or _NO_THREAD in text or isinstance(error, SystemError):
        return f"a process may have {format_size(limit)} of memory here: raise ulimit -v"
    return None


def _discard(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, instead of failing once more at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Parser(argparse.ArgumentParser):
    """One that writes as everything else here does."""

    def print_help(self, file: object = None) -> None:  # noqa: ARG002  argparse has it
        """To standard output.  StorageError."""
        say(self.format_help().rstrip())

    def error(self, message: str) -> NoReturn:
        """Wrong usage."""
        warn(f"{self.format_usage()}{self.prog}: error: {message}")
        raise SystemExit(UsageError.exit_code)


def complete(troubles: list[str]) -> int:
    """The exit code of an answer in which this is missing."""
    for trouble in troubles:
        warn(f"incomplete: {trouble}")
    return 3 if troubles else 0


def add_config(parser: argparse._ActionsContainer) -> None:
    """--config F."""
    parser.add_argument("--config", metavar="F", help=f"default {DEFAULT_CONFIG}")


def config_of(options: argparse.Namespace) -> str:
    """The config file that is meant.  UsageError."""
    path: str = DEFAULT_CONFIG if options.config is None else options.config
    if not path:
        raise UsageError("the name of the config file is empty")
    return path


def range_of(since: str, until: str | None, now: int) -> tuple[int, int]:
    """--since and --until (None: it has no end), ns since 1970.  UsageError."""
    from capd.times import clock, parse_time
    from capd.units import MAX

    found = []
    for option, text in (("--since", since), ("--until", until)):
        try:
            found.append(MAX if text is None else parse_time(text, now))
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from error
    begin, end = found
    if begin >= end:
        raise UsageError(f"--since {clock(begin)} UTC is not before --until {clock(end)} UTC")
    return begin, end
