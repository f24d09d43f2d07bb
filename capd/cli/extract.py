"""The word that gives packets back: `extract`."""

from __future__ import annotations

import argparse
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from capd.cli.common import TIMES, Words, add_config, config_of, range_of, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from capd.config import Config
    from capd.query.edge import Edge
    from capd.query.extraction import Extract, Request
    from capd.query.output import Output
    from capd.query.sources import Wanted


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    extract = words.add_parser("extract", help="packets, by time and filter, as one file")
    add_config(extract)
    extract.add_argument("filter", nargs="*", metavar="FILTER", help="as in pcap-filter(7)")
    extract.add_argument("--since", metavar="T", help=TIMES)
    extract.add_argument("--until", metavar="T", help="the same; default now, or without end")
    extract.add_argument("--follow", action="store_true", help="go on with what is recorded now")
    extract.add_argument("--interface", action="append", metavar="I", help="of this one only")
    extract.add_argument("-o", dest="output", default="-", metavar="FILE", help="default: stdout")
    extract.add_argument("--limit", type=_count, metavar="N", help="no more than N packets")
    most = "no more than N bytes of each"
    extract.add_argument("--snaplen", type=_count, metavar="N", help=most)
    extract.add_argument("--format", choices=("pcapng", "pcap"), default="pcapng")
    extract.add_argument(
        "--json", action="store_true", help="what was given and is missing as JSON"
    )
    extract.set_defaults(command=_extract)


def _count(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 0 < len(text) < 20 and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _extract(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.pcapng import SNAPLEN
    from capd.query.access import put_on_record, require_access
    from capd.query.completeness import asked
    from capd.query.extraction import Request, extract
    from capd.query.known import unknown, unmounted
    from capd.query.matcher import Matcher
    from capd.query.output import Output, refuse_inside
    from capd.query.progress import Progress
    from capd.query.sources import Wanted
    from capd.runtime import RuntimeDirectory

    now = time.time_ns()
    since, until = _range(options, now)
    config = load(config_of(options))
    directories = config.directories
    require_access(directories[0])
    refuse_inside(options.output, directories)
    wanted = Wanted(directories, since, until, tuple(options.interface or ()))
    text = " ".join(options.filter)
    snaplen = min(options.snaplen or SNAPLEN, SNAPLEN)
    places = tuple(one for one in (config.storage, config.archive) if one is not None)
    request = Request(wanted, text, options.limit, snaplen, options.format, places)
    matcher = Matcher(text, since, until)
    output = Output(options.output, request.form, request.snaplen)
    output.begin(asked(request))
    edge = _edge(options, request, now)
    put_on_record(request, None)
    pause = _pause(config, wanted, edge if options.follow else None)
    try:
        with Progress(pause=pause) as progress:
            made = extract(request, matcher, output, progress, edge)
    finally:  # what was given before an error or Ctrl-C counts
        put_on_record(request, output.packets)
    made.troubles += unmounted(config.storage, config.archive)
    made.unknown = unknown(config, wanted.interfaces, RuntimeDirectory().status)
    return _conclude(options, request, made, output, now)


def _range(options: argparse.Namespace, now: int) -> tuple[int, int]:
    """What is asked for.  UsageError."""
    from capd.errors import UsageError

    since, until = options.since, options.until
    if options.follow:
        return range_of("now" if since is None else since, until, now)
    if since is None:
        raise UsageError("extract needs --since, or --follow: " + TIMES)
    return range_of(since, "now" if until is None else until, now)


def _edge(options: argparse.Namespace, request: Request, now: int) -> Edge | None:
    """What tells how far the recording has come; None: nothing is being recorded."""
    from capd.query.edge import Edge
    from capd.runtime import RuntimeDirectory

    wanted = request.wanted
    until = wanted.until if options.follow else min(wanted.until, now)
    edge = Edge(RuntimeDirectory().status, wanted.directories[0], until)
    if options.follow:
        signal.signal(signal.SIGINT, edge.end)
        signal.signal(signal.SIGTERM, edge.end)
    return edge if options.follow or edge.is_told else None


def _pause(config: Config, wanted: Wanted, edge: Edge | None) -> Callable[[], None]:
    """What is done at each turn; who follows is told what nobody would hear of before the end."""
    from capd.query.known import unknown
    from capd.query.manners import Courtesy
    from capd.query.vigil import Vigil
    from capd.runtime import RuntimeDirectory

    status = RuntimeDirectory().status
    courtesy = Courtesy(status, warn)
    if edge is None:
        return courtesy.wait
    strange = unknown(config, wanted.interfaces, status)
    for told in strange.values():
        warn(told)
    expected = [name for name in wanted.interfaces if name not in strange]
    if edge.elsewhere:
        warn(f"capd records into {edge.elsewhere}, and not into {wanted.directories[0]}")
        expected = []
    vigil = Vigil(edge, wanted, expected, warn)

    def pause() -> None:
        courtesy.wait()
        vigil.look()

    return pause


def _conclude(
    options: argparse.Namespace,
    request: Request,
    made: Extract,
    output: Output,
    began: int,
) -> int:
    """End the file, and say what it lacks."""
    from capd.query.completeness import as_json, asked, problems, recorded, summary
    from capd.query.present import missing as missed_now
    from capd.query.present import unwritten
    from capd.query.unrecorded import ended
    from capd.runtime import RuntimeDirectory

    wanted, now = request.wanted, time.time_ns()
    if options.follow:  # it was asked for what came until someone ended it
        request = replace(request, wanted=replace(wanted, until=made.until))
    lacks = recorded(request)
    status = RuntimeDirectory().status
    missed, unknown = missed_now(status, lacks.question, began)
    lacks.present = unknown + missed
    lacks.add(unwritten(status, wanted.directories[0]))
    lacks.present += ended(status, lacks.question, made.oldest)
    incomplete = list(problems(request, made, lacks, now))
    verdict = "\n".join(f"incomplete: {text}" for text in incomplete) or "complete"
    if not made.reader_gone:
        output.finish(f"{summary(made)}\n{verdict}", now)
        output.close()
    if options.json:
        warn(as_json(request, made, lacks, incomplete))
    else:
        warn(f"{asked(request)}\n{summary(made)}\n{verdict}")
    return 3 if incomplete else 0
