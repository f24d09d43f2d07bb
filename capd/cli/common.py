"""What the words have in common: saying something; the config and the times that are meant."""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import NoReturn, TextIO

from capd.errors import StorageError, UsageError
from capd.units import readable

DEFAULT_CONFIG = "/etc/capd.toml"
TIMES = '"2h" (ago), "today", "03:12", "2026-11-24 03:12:05"; in UTC'

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
