"""The words people type: `capd run`, `check`, `reload`, `status`, `list`, `verify`.

Arguments in, exit code out: 0 done, 1 failed, 2 wrong usage or config, 3 done but
incomplete.  What a word does lives elsewhere, and is imported only when it is said.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from typing import TYPE_CHECKING

from capd import __version__
from capd.errors import CapdError, StorageError

if TYPE_CHECKING:
    from capd.daemon.headstart import HeadStart

DEFAULT_CONFIG = "/etc/capd.toml"
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def main(arguments: list[str] | None = None, head_start: HeadStart | None = None) -> int:
    """Run one command; gives the exit code.  `head_start`: for `run`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a name that the terminal's encoding lacks is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments, argparse.Namespace(head_start=head_start))
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
    run.add_argument(
        "--keep-rings",
        action="store_true",
        help="end at SIGTERM at once and leave the rings in systemd's store for the next start",
    )
    run.set_defaults(command=_run)

    check = words.add_parser("check", help="every problem of a config, and what it comes to")
    either = check.add_mutually_exclusive_group()
    _add_config(either)
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
    finish.set_defaults(command=_finish, order="finish")
    _add_questions(words)
    return parser


def _add_questions(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The words that ask the segments on the disk."""
    texts = {
        "list": "the segments on the disk, and what is in them",
        "verify": "read every segment back and name what is wrong",
    }
    for word, command in (("list", _list), ("verify", _verify)):
        question = words.add_parser(word, help=texts[word])
        _add_config(question)
        question.add_argument("--interface", action="append", metavar="I", help="of this one only")
        question.add_argument("--json", action="store_true", help="for programs")
        question.set_defaults(command=command)


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
    from capd.daemon.options import Options

    config = options.config or DEFAULT_CONFIG
    run(Options(config, options.live, options.seconds, options.keep_rings), options.head_start)
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


def _list(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.query.holdings import holdings, look
    from capd.query.listing import as_json, lines

    directories = load(options.config or DEFAULT_CONFIG).directories
    places, troubles = look(directories, options.interface or ())
    if options.json:
        _say(as_json(holdings(places)))
    else:
        _say("\n".join(lines(holdings(places))))
    return _complete(troubles)


def _verify(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.query.holdings import located, look
    from capd.query.progress import Progress
    from capd.query.verification import Summary, verify

    directories = load(options.config or DEFAULT_CONFIG).directories
    places, troubles = look(directories, options.interface or ())
    segments = list(located(places))
    summary = Summary()
    with Progress(sum(one.segment.size for one in segments)) as progress:
        for verdict in verify(segments, progress.advance):
            summary.add(verdict)
            if verdict.problem is not None and not options.json:
                progress.say(f"{verdict.path}: {verdict.problem}")
    _say(summary.as_json() if options.json else summary.text())
    return 1 if summary.wrong else _complete(troubles)


def _complete(troubles: list[str]) -> int:
    """The exit code of an answer in which this is missing."""
    for trouble in troubles:
        print(f"incomplete: {trouble}", file=sys.stderr)
    return 3 if troubles else 0


def _finish(options: argparse.Namespace) -> int:
    from capd.control import is_stopping

    if options.if_stopping and not is_stopping(options.if_stopping):
        return 0
    return _order(options)


def _order(options: argparse.Namespace) -> int:
    """Have the daemon do it, and say what came of it, unless it has told so where we would."""
    from capd.control import ask
    from capd.daemon.journal import is_heard
    from capd.runtime import RuntimeDirectory

    answer = ask(RuntimeDirectory().control, options.order)
    if is_heard():
        return 0 if answer.done else 1
    text = "\n".join(answer.lines)
    if answer.done:
        if text:
            _say(text)
        return 0
    print(text, file=sys.stderr)
    return 1


def _status(options: argparse.Namespace) -> int:
    import time

    from capd.runtime import RuntimeDirectory
    from capd.status import encode, read, staleness

    path = RuntimeDirectory().status
    if options.watch:
        from capd.status_view import watch

        watch(path)
        return 0
    status = read(path)
    stale = staleness(status, time.time_ns())
    if options.json:
        _say(encode(status))
    else:
        from capd.status_view import show

        show(status)
    if stale is not None:
        print(stale, file=sys.stderr)
    return int(stale is not None)
