"""What an extraction was asked for, what it gave, and what is missing of it, in words.

Missing is what the ledger has of the range, what retention has deleted, what could not be read,
and what is to come.  The statement goes to stderr, and into the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from capd.errors import StorageError
from capd.losses import NOT_CAPTURED, Loss, describe
from capd.names import interface_of
from capd.query.extraction import ENDLESS, Extract, Request
from capd.query.losses import Answer, Question, answer
from capd.query.numbers import LEFT_OUT, NEVER, Hole, Lossy
from capd.query.searches import WINDOW
from capd.query.terms import restrictions
from capd.units import SECOND, format_count, format_time

_NEAR = 60 * SECOND  # ns: as near a record is to what a segment tells of the same loss
_MOST_TOLD = 20  # records one by one; more are counted


def recorded(request: Request) -> Answer:
    """What the ledger has of the range."""
    wanted = request.wanted
    question = Question(wanted.directories[0], wanted.since, wanted.until, wanted.interfaces)
    try:
        return answer(question)
    except StorageError as error:
        return Answer(question, troubles=[str(error)])


def asked(request: Request) -> str:
    """The request in a line."""
    wanted = request.wanted
    until = "the end" if wanted.until == ENDLESS else format_time(wanted.until)
    text = f"asked for {format_time(wanted.since)} to {until}"
    text += f", {', '.join(wanted.interfaces) or 'all interfaces'}"
    return f"{text}, filter: {request.filter}" if request.filter else text


def problems(request: Request, made: Extract, lacks: Answer, now: int) -> Iterator[str]:
    """All that keeps the answer from being complete; `now` in ns since 1970."""
    wanted = request.wanted
    yield from _not_kept(request, made)
    yield from _not_there(made.holes, wanted.directories[0])
    if wanted.until > now:
        yield f"from {format_time(now)} on it is yet to come"
    yield from _told(lacks.losses)
    yield from _unexplained(made.lossy, lacks)
    if made.undirected:
        count = format_count(made.undirected)
        yield f"of {count} packets the direction was not recorded; the filter asks for it"
    if made.late:
        count, most = format_count(made.late), WINDOW // 10**6
        yield f"{count} packets were recorded more than {most} ms out of order, and stay so"
    if made.enough:
        yield f"the limit of {format_count(request.limit or 0)} packets is reached"
    if made.reader_gone:
        yield "whoever read the packets has ended"
    for path in made.suspect:
        yield f"{path}: the disk did not confirm it"
    yield from (*made.troubles, *lacks.troubles, *lacks.present)


def _not_kept(request: Request, made: Extract) -> Iterator[str]:
    """What comes before all that is there."""
    wanted, begins = request.wanted, dict(made.oldest)
    for ring, since in made.recorded.items():
        if ring in begins or wanted.has(ring):
            begins[ring] = min(begins.get(ring, since), since)
    for ring, first in sorted(begins.items()):
        if first > wanted.since:
            yield f"{ring}: nothing is kept from before {format_time(min(first, wanted.until))}"
    there = {interface_of(ring) for ring in begins}
    if not begins and not wanted.interfaces:
        yield f"no segment is in {' or '.join(wanted.directories)}"
    for interface in dict.fromkeys(wanted.interfaces):
        if interface not in there:
            yield made.unknown.get(interface, f"{interface}: no segment is there")


def _not_there(holes: list[Hole], directory: str) -> Iterator[str]:
    """Segments that are gone from between others; not what is known to be left out for nothing."""
    cuts = _cuts(holes, directory) if holes else []
    told = 0
    for hole in holes:
        runs = [
            loss
            for loss in cuts
            if loss.interface == interface_of(hole.ring)
            and loss.since <= hole.before
            and (loss.until is None or loss.until >= hole.after)
        ]
        if hole.count <= LEFT_OUT * len(runs):
            continue
        told += 1
        if told <= _MOST_TOLD:
            yield _in_words(hole)
    if told > _MOST_TOLD:
        yield f"{format_count(told - _MOST_TOLD)} more runs of segments are not there"


def _unexplained(lossy: list[Lossy], lacks: Answer) -> Iterator[str]:
    """Losses that segments tell of, and the ledger does not: its daemon was killed, or its disk."""
    if not lossy:
        return
    since, until = min(one.first for one in lossy), max(one.last for one in lossy)
    question = Question(lacks.question.directory, max(0, since - _NEAR), until + _NEAR)
    try:
        known = answer(question).losses + lacks.losses
    except StorageError:  # `recorded` has told
        known = lacks.losses
    for one in lossy:
        near = (loss for loss in known if loss.interface in ("", interface_of(one.ring)))
        if not any(loss.stage != "link" and _is_near(loss, one) for loss in near):
            span = f"between {format_time(one.first)} and {format_time(one.last)}"
            count = format_count(one.packets)
            yield f"{one.ring}: {count} packets were lost {span}, of which there is no record"


def _is_near(loss: Loss, one: Lossy) -> bool:
    ends = loss.until is None or loss.until >= one.first - _NEAR
    return loss.since <= one.last + _NEAR and ends


def _cuts(holes: list[Hole], directory: str) -> list[Loss]:
    """The times without capd that may explain holes."""
    since, until = min(hole.after for hole in holes), max(hole.before for hole in holes)
    try:
        found = answer(Question(directory, since, until + 1, stages=("link",))).losses
    except StorageError:  # `recorded` has told
        return []
    return [loss for loss in found if loss.cause == NOT_CAPTURED]


def _in_words(hole: Hole) -> str:
    between = f"between {format_time(hole.after)} and {format_time(hole.before)}"
    if hole.before == NEVER:
        between = f"from after {format_time(hole.after)}"
    if hole.count == 1:
        text = f"{hole.ring}: segment {hole.first}, {between}, is not there"
    else:
        text = f"{hole.ring}: segments {hole.first} to {hole.last}, {between}, are not there"
    if hole.count > LEFT_OUT:
        return text
    return f"{text}; unless a run that was cut off left the number out, packets are missing"


def _told(losses: list[Loss]) -> Iterator[str]:
    for loss in losses[:_MOST_TOLD]:
        yield f"{loss.whose}: {describe(loss)}"
    if len(losses) > _MOST_TOLD:
        more = format_count(len(losses) - _MOST_TOLD)
        yield f"{more} more records of gaps and losses; see: capd losses"


def summary(made: Extract) -> str:
    """What was given, and on what terms it was captured."""
    by = ", ".join(f"{name} {format_count(count)}" for name, count in made.by_interface.items())
    text = f"{format_count(made.packets)} packets"
    text += f" ({by})" if len(made.by_interface) > 1 else ""
    text += f" out of {format_count(made.segments)} segments"
    return "\n".join((text, *restrictions(made.terms)))


def as_json(request: Request, made: Extract, lacks: Answer, incomplete: list[str]) -> str:
    """All of it; times in ns since 1970."""
    document = {
        "since": request.wanted.since,
        "until": request.wanted.until,
        "interfaces": list(request.wanted.interfaces),
        "filter": request.filter,
        **asdict(made),
        "losses": [asdict(loss) for loss in lacks.losses],
        "complete": not incomplete,
        "incomplete": incomplete,
    }
    return json.dumps(document)
