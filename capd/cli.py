"""The words people type: `capd run`, `capd check`.

Arguments in, exit code out: 0 done, 1 failed, 2 wrong usage or config, 3 done but
incomplete.  What a word does lives elsewhere, and is imported only when it is said.
"""

from __future__ import annotations

import argparse
import sys

from capd import __version__
from capd.errors import CapdError

DEFAULT_CONFIG = "/etc/capd.toml"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except CapdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="capd", description="Record every packet, continuously.")
    parser.add_argument("--version", action="version", version=f"capd {__version__}")
    words = parser.add_subparsers(required=True, metavar="COMMAND")

    run = words.add_parser("run", help="capture in the foreground until SIGTERM or Ctrl-C")
    _add_config(run)
    run.add_argument("--live", action="store_true", help="show a live table on the terminal")
    run.add_argument("--seconds", type=float, help="stop after this long")
    run.set_defaults(command=_run)

    check = words.add_parser("check", help="every problem of a config, and what it comes to")
    _add_config(check)
    check.add_argument("file", nargs="?", help="the config (default: --config)")
    check.set_defaults(command=_check)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=DEFAULT_CONFIG, help=f"default {DEFAULT_CONFIG}")


def _run(options: argparse.Namespace) -> int:
    from capd.daemon.main import run

    return run(options.config, live=options.live, seconds=options.seconds)


def _check(options: argparse.Namespace) -> int:
    from capd.daemon.check import check

    return check(options.file or options.config)
