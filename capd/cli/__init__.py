"""The words people type: arguments in, exit code out.

0 done, 1 failed, 2 wrong usage or config, 3 done but incomplete.  Each module here has the words
about one thing; what a word does lives elsewhere, and is imported only when it is said.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from typing import TYPE_CHECKING

from capd import __version__
from capd.cli import alert, convert, extract, holds, metrics, questions, service, tuning
from capd.cli.common import Parser, say, shortage, warn
from capd.errors import CapdError

if TYPE_CHECKING:
    from capd.daemon.headstart import HeadStart

_STDERR = 2
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def main(arguments: list[str] | None = None, head_start: HeadStart | None = None) -> int:
    """Run one command; gives the exit code.  `head_start`: for `run`."""
    _open_all()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a name that the terminal's encoding lacks is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    words = _joined(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser().parse_args(words, argparse.Namespace(head_start=head_start))
        return int(options.command(options))
    except CapdError as error:
        warn(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, ImportError, MemoryError, RuntimeError, SystemError) as error:
        missing = shortage(error)
        if missing is None:
            raise
        warn(missing)
        return 1


def _open_all() -> None:
    """Have no file opened where standard error was, if whoever started this has closed it.

    What is meant for it would be written there, and by Python, which knows of none, to
    standard output: into the packets of `capd extract 2>&-`.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # and this is the lowest that is free
            os.open(os.devnull, os.O_WRONLY if number == _STDERR else os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = open(_STDERR, "w", closefd=False)  # noqa: SIM115  until the end


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        say(f"capd {__version__}")
        parser.exit()


def _joined(words: list[str]) -> list[str]:
    """With `--since -10m` as `--since=-10m`: else argparse takes the time for an option."""
    found: list[str] = []
    for at, word in enumerate(words):
        if found and found[-1] in ("--since", "--until") and re.match("-[0-9]", word):
            found[-1] += f"={word}"
        elif word == "--":
            return found + words[at:]
        else:
            found.append(word)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="capd", description="Record every packet, continuously.")
    version = "show program's version number and exit"
    parser.add_argument("--version", action=_Version, nargs=0, help=version)
    words = parser.add_subparsers(required=True, metavar="COMMAND")
    for each in (service, questions, extract, holds, alert, metrics, tuning, convert):
        each.add(words)
    return parser
