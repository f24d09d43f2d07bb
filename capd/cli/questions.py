"""The words that ask what is on the disk: `list`, `verify`, `losses`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from capd.cli.common import (
    TIMES,
    Paper,
    Words,
    add_config,
    complete,
    config_of,
    range_of,
    say,
    warn,
)
from capd.errors import StorageError, UsageError

if TYPE_CHECKING:
    from capd.config import Config


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    texts = {
        "list": "the segments on the disk, and what is in them",
        "verify": "read every segment back and name what is wrong",
    }
    for word, command in (("list", _list), ("verify", _verify)):
        question = words.add_parser(word, help=texts[word])
        add_config(question)
        question.add_argument("--interface", action="append", metavar="I", help="of this one only")
        question.add_argument("--json", action="store_true", help="for programs")
        question.set_defaults(command=command)
    losses = words.add_parser("losses", help="what was lost, when, where, why; what to change")
    add_config(losses)
    losses.add_argument("--since", default="24h", metavar="T", help=f"{TIMES}; default 24h")
    losses.add_argument("--until", default="now", metavar="T", help="the same; default now")
    losses.add_argument("--interface", action="append", metavar="I", help="of this one only")
    losses.add_argument("--stage", action="append", metavar="S", help="at this stage only")
    losses.add_argument("--samples", action="store_true", help="what was sampled around each")
    losses.add_argument("--json", action="store_true", help="for programs")
    losses.set_defaults(command=_losses)


def _list(options: argparse.Namespace) -> int:
    from capd import hold_folder
    from capd.config import load
    from capd.query.holdings import holdings, look
    from capd.query.known import unmounted
    from capd.query.listing import as_json, lines

    config = load(config_of(options))
    directories = config.directories
    places, troubles = look(directories, options.interface or ())
    troubles += _strange(config, options) + unmounted(config.storage, config.archive)
    spans = None
    try:
        held = hold_folder.of(directories[0])
        troubles += [doubt.text for doubt in held.doubts]
        spans = held.spans
    except StorageError as error:
        troubles.append(str(error))
    found = holdings(places, spans)
    say(as_json(found) if options.json else "\n".join(lines(found)))
    return complete(troubles)


def _verify(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.query.known import unmounted
    from capd.query.progress import Progress
    from capd.query.verification import Summary, Verification

    config = load(config_of(options))
    verification = Verification(config.directories, options.interface or ())
    strange = _strange(config, options) + unmounted(config.storage, config.archive)
    summary = Summary()
    with Progress(verification.size) as progress:
        for verdict in verification.verdicts(progress.advance):
            summary.add(verdict)
            if verdict.problem is not None and not options.json:
                progress.say(f"{verdict.path}: {verdict.problem}", warn)
    say(summary.as_json() if options.json else summary.text())
    code = complete(verification.troubles + strange)
    return 1 if summary.wrong else code


def _losses(options: argparse.Namespace) -> int:
    import time

    from capd.config import load
    from capd.losses import STAGES
    from capd.query.known import in_directory, unmounted
    from capd.query.losses import Question, answer, as_json
    from capd.query.present import missing, unwritten
    from capd.query.unrecorded import ended
    from capd.runtime import RuntimeDirectory

    stages = tuple(options.stage or ())
    for stage in stages:
        if stage not in STAGES:
            raise UsageError(f"--stage {stage}: there is no such stage; one of {', '.join(STAGES)}")
    now = time.time_ns()
    since, until = range_of(options.since, options.until, now)
    config = load(config_of(options))
    interfaces = tuple(options.interface or ())
    directory = config.storage.directory
    found = answer(Question(directory, since, until, interfaces, stages, options.samples))
    found.strange = _strange(config, options) + unmounted(config.storage)
    status = RuntimeDirectory().status
    found.add(unwritten(status, directory))
    there = in_directory(directory)
    rings = there.intersection(interfaces) if interfaces else there
    missed, found.unknown = missing(status, found.question, now)
    found.present = [*missed, *ended(status, found.question, rings)]
    if options.json:
        say(as_json(found))
    else:
        from rich.console import Console

        from capd.query.loss_view import View

        say(View(found, Console(file=Paper())).text(), styled=True)
    return complete(found.troubles + found.strange + found.unknown)


def _strange(config: Config, options: argparse.Namespace) -> list[str]:
    """What is asked for by a name that nothing has."""
    from capd.query.known import unknown
    from capd.runtime import RuntimeDirectory

    return list(unknown(config, options.interface or (), RuntimeDirectory().status).values())
