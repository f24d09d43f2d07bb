"""The words about the daemon: `run`, `check`, `reload`, `status`, `finish`."""

from __future__ import annotations

import argparse
import math

from capd.cli.common import Paper, Words, add_config, config_of, say, warn
from capd.errors import UsageError

UNBOUNDED = 1000  # columns of a file or a pipe


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    run = words.add_parser("run", help="capture in the foreground until SIGTERM or Ctrl-C")
    add_config(run)
    run.add_argument("--live", action="store_true", help="show a live table on the terminal")
    run.add_argument("--seconds", type=_seconds, metavar="N", help="stop after this long")
    run.add_argument(
        "--keep-rings",
        action="store_true",
        help="end at SIGTERM at once and leave the rings in systemd's store for the next start",
    )
    run.set_defaults(command=_run)

    check = words.add_parser("check", help="every problem of a config, and what it comes to")
    either = check.add_mutually_exclusive_group()
    add_config(either)
    either.add_argument("config_file", nargs="?", metavar="F", help="the same as --config F")
    check.set_defaults(command=_check)

    reload = words.add_parser("reload", help="put the config file in force; says what changed")
    reload.set_defaults(command=_order, order="reload")

    status = words.add_parser("status", help="what is captured, what is lost, what waits")
    shape = status.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="for programs")
    shape.add_argument("--watch", action="store_true", help="once a second, until Ctrl-C")
    status.set_defaults(command=_status)

    finish = words.add_parser("finish", help="drain every ring and end the daemon")
    finish.add_argument(
        "--if-stopping",
        metavar="UNIT",
        help="only if systemd is stopping this unit: a restart leaves the rings as they are",
    )
    finish.set_defaults(command=_finish)


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
    from capd.daemon.options import Options

    config = config_of(options)
    run(Options(config, options.live, options.seconds, options.keep_rings), options.head_start)
    return 0


def _check(options: argparse.Namespace) -> int:
    from capd.daemon.check import check

    if options.config_file is not None:
        options.config = options.config_file
    path = config_of(options)
    outcome = check(path)
    say(f"{outcome.text}\n")
    for warning in outcome.warnings:
        warn(warning)
    count = len(outcome.warnings)
    say(f"{path}: no problem, {count or 'no'} warning{'' if count == 1 else 's'}")
    return 0


def _finish(options: argparse.Namespace) -> int:
    from capd.control import is_stopping

    unit = options.if_stopping
    if unit is not None and not is_stopping(unit):
        return 0
    options.order = "end" if unit is None else "finish"
    return _order(options)


def _order(options: argparse.Namespace) -> int:
    """Have the daemon do it, and say what came of it, unless it has told so where we would."""
    from capd.control import ask
    from capd.journal import is_heard
    from capd.runtime import RuntimeDirectory

    answer = ask(RuntimeDirectory().control, options.order)
    if is_heard():
        return 0 if answer.done else 1
    text = "\n".join(answer.lines)
    if answer.done:
        if text:
            say(text)
        return 0
    warn(text)
    return 1


def _status(options: argparse.Namespace) -> int:
    import time

    from capd.runtime import RuntimeDirectory
    from capd.status import encode, read, staleness

    path, paper = RuntimeDirectory().status, Paper()
    if options.watch:
        from capd.status_view import watch

        if not paper.isatty():
            raise UsageError("--watch is for a terminal; elsewhere: capd status, again and again")
        watch(path)
        return 0
    status = read(path)
    stale = staleness(status, time.time_ns())
    if options.json:
        say(encode(status))
    else:
        from rich.console import Console

        from capd.status_view import text

        width = None if paper.isatty() else UNBOUNDED
        say(text(status, Console(file=paper, width=width)), styled=True)
    if stale is not None:
        warn(stale)
    return int(stale is not None)
