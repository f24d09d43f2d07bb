"""The words people type: `capd run`, `capd check`.

Arguments in, exit code out: 0 done, 1 failed, 2 wrong usage or config, 3 done but
incomplete.  What a word does lives elsewhere, and is imported only when it is said.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys

from capd import __version__
from capd.errors import CapdError, StorageError

DEFAULT_CONFIG = "/etc/capd.toml"
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a name that the terminal's encoding lacks is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except CapdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _say(text: str) -> None:
    """Print, and be sure of it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        _discard_output()
    except OSError as error:
        _discard_output()
        raise StorageError(f"cannot write what there is to say: {error.strerror}") from error


def _discard_output() -> None:
    """Let what is still buffered go nowhere, instead of failing once more at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="capd", description="Record every packet, continuously.")
    parser.add_argument("--version", action="version", version=f"capd {__version__}")
    words = parser.add_subparsers(required=True, metavar="COMMAND")

    run = words.add_parser("run", help="capture in the foreground until SIGTERM or Ctrl-C")
    _add_config(run)
    run.add_argument("--live", action="store_true", help="show a live table on the terminal")
    run.add_argument("--seconds", type=_seconds, metavar="N", help="stop after this long")
    run.set_defaults(command=_run)

    check = words.add_parser("check", help="every problem of a config, and what it comes to")
    either = check.add_mutually_exclusive_group()
    _add_config(either)
    either.add_argument("config_file", nargs="?", metavar="F", help="the same as --config F")
    check.set_defaults(command=_check)
    return parser


def _add_config(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--config", metavar="F", help=f"default {DEFAULT_CONFIG}")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _run(options: argparse.Namespace) -> int:
    from capd.daemon.main import run

    run(options.config or DEFAULT_CONFIG, live=options.live, seconds=options.seconds)
    return 0


def _check(options: argparse.Namespace) -> int:
    from capd.daemon.check import check

    path = options.config_file or options.config or DEFAULT_CONFIG
    outcome = check(path)
    _say(f"{outcome.text}\n")
    for warning in outcome.warnings:
        print(warning, file=sys.stderr)
    count = len(outcome.warnings)
    _say(f"{path}: no problem, {count or 'no'} warning{'' if count == 1 else 's'}")
    return 0
