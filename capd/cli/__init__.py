"""The words people type: arguments in, exit code out.

0 done, 1 failed, 2 wrong usage or config, 3 done but incomplete.  Each module here has the words
about one thing; what a word does lives elsewhere, and is imported only when it is said.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from typing import TYPE_CHECKING

from capd import __version__
from capd.cli import alert, convert, extract, holds, metrics, questions, service, tuning
from capd.cli.common import warn
from capd.errors import CapdError

if TYPE_CHECKING:
    from capd.daemon.headstart import HeadStart

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def main(arguments: list[str] | None = None, head_start: HeadStart | None = None) -> int:
    """Run one command; gives the exit code.  `head_start`: for `run`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a name that the terminal's encoding lacks is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    words = _joined(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words, argparse.Namespace(head_start=head_start))
    try:
        return int(options.command(options))
    except CapdError as error:
        warn(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


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
    parser = argparse.ArgumentParser(prog="capd", description="Record every packet, continuously.")
    parser.add_argument("--version", action="version", version=f"capd {__version__}")
    words = parser.add_subparsers(required=True, metavar="COMMAND")
    for each in (service, questions, extract, holds, alert, metrics, tuning, convert):
        each.add(words)
    return parser
