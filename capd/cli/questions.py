"""The words that ask what is on the disk: `list`, `verify`."""

from __future__ import annotations

import argparse

from capd.cli.common import Words, add_config, complete, config_of, say


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


def _list(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.query.holdings import holdings, look
    from capd.query.listing import as_json, lines

    directories = load(config_of(options)).directories
    places, troubles = look(directories, options.interface or ())
    if options.json:
        say(as_json(holdings(places)))
    else:
        say("\n".join(lines(holdings(places))))
    return complete(troubles)


def _verify(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.query.holdings import located, look
    from capd.query.progress import Progress
    from capd.query.verification import Summary, verify

    directories = load(config_of(options)).directories
    places, troubles = look(directories, options.interface or ())
    segments = list(located(places))
    summary = Summary()
    with Progress(sum(one.segment.size for one in segments)) as progress:
        for verdict in verify(segments, progress.advance):
            summary.add(verdict)
            if verdict.problem is not None and not options.json:
                progress.say(f"{verdict.path}: {verdict.problem}")
    say(summary.as_json() if options.json else summary.text())
    return 1 if summary.wrong else complete(troubles)
