"""The word that gives packets back: `extract`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from capd.cli.common import TIMES, Words, add_config, config_of, range_of

if TYPE_CHECKING:
    from capd.query.extraction import Extract, Request
    from capd.query.losses import Answer
    from capd.query.output import Output


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    extract = words.add_parser("extract", help="packets, by time and filter, as one file")
    add_config(extract)
    extract.add_argument("filter", nargs="*", metavar="FILTER", help="as in pcap-filter(7)")
    extract.add_argument("--since", required=True, metavar="T", help=TIMES)
    extract.add_argument("--until", default="now", metavar="T", help="the same; default now")
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
    number = int(text)
    if not 0 < number < 2**63:
        raise ValueError
    return number


def _extract(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.pcapng import SNAPLEN
    from capd.query.access import put_on_record, require_access
    from capd.query.completeness import asked, recorded
    from capd.query.extraction import Request, extract
    from capd.query.manners import Courtesy
    from capd.query.matcher import Matcher
    from capd.query.output import Output, refuse_inside
    from capd.query.present import missing as missed_now
    from capd.query.progress import Progress
    from capd.query.sources import Wanted
    from capd.runtime import RuntimeDirectory

    now = time.time_ns()
    since, until = range_of(options.since, options.until, now)
    directories = tuple(load(config_of(options)).directories)
    require_access(directories[0])
    refuse_inside(options.output, directories)
    wanted = Wanted(directories, since, until, tuple(options.interface or ()))
    text = " ".join(options.filter)
    snaplen = min(options.snaplen or SNAPLEN, SNAPLEN)
    request = Request(wanted, text, options.limit, snaplen, options.format)
    matcher = Matcher(text, since, until)
    courtesy = Courtesy(RuntimeDirectory().status)
    lacks = recorded(request)
    if until >= now:
        lacks.present = list(missed_now(RuntimeDirectory().status, directories[0], now))
    output = Output(options.output, request.form, request.snaplen)
    output.begin(asked(request))
    try:
        with Progress() as progress:

            def advance(size: int) -> None:
                progress.advance(size)
                courtesy.wait()

            made = extract(request, matcher, output, progress.expect, advance)
    finally:  # what was given before an error or Ctrl-C counts
        put_on_record(request, output.packets)
    return _conclude(options, request, made, lacks, output)


def _conclude(
    options: argparse.Namespace,
    request: Request,
    made: Extract,
    lacks: Answer,
    output: Output,
) -> int:
    """End the file, and say what it lacks."""
    from capd.query.completeness import as_json, asked, problems, summary

    now = time.time_ns()
    incomplete = list(problems(request, made, lacks, now))
    verdict = "\n".join(f"incomplete: {text}" for text in incomplete) or "complete"
    if not made.reader_gone:
        output.finish(f"{summary(made)}\n{verdict}", now)
        output.close()
    if options.json:
        print(as_json(request, made, lacks, incomplete), file=sys.stderr)
    else:
        print(f"{asked(request)}\n{summary(made)}\n{verdict}", file=sys.stderr)
    return 3 if incomplete else 0
