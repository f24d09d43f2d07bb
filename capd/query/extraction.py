"""`capd extract`: the packets of a range that a filter takes, out of all segments, by time.

Sources are held, searched and merged here; what the answer lacks is put into words by
`completeness`.  In memory are, of each ring, the pieces in which there are packets of its last
WINDOW, and a few that are searched ahead.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from capd import pcapng
from capd.query.edge import Edge
from capd.query.manners import yield_to_all
from capd.query.matcher import Matcher
from capd.query.numbers import Hole, Lossy
from capd.query.output import Format, Interface, Output
from capd.query.reading import Buffers
from capd.query.ringstream import Progress, RingStream
from capd.query.room import Room
from capd.query.searches import Tools
from capd.query.sources import Sources, Wanted
from capd.query.streams import Streams
from capd.query.terms import Terms
from capd.survey import UNKNOWN_LINK
from capd.units import format_count, format_time

if TYPE_CHECKING:
    from capd.config import Retention

UNLIMITED = ENDLESS = 2**63 - 1
_MOST_NAMED = 20  # segments that are gone; more are counted


@dataclass(frozen=True)
class Request:
    """What is asked; times in ns since 1970, [since, until), ENDLESS: until someone ends it."""

    wanted: Wanted
    filter: str = ""
    limit: int | None = None  # packets
    snaplen: int = pcapng.SNAPLEN  # bytes of each
    form: Format = "pcapng"
    places: tuple[Retention, ...] = ()  # directories in which there may be want of room


@dataclass
class Extract:
    """What came of it."""

    until: int = 0  # ns since 1970: where the answer ends
    packets: int = 0
    by_interface: dict[str, int] = field(default_factory=dict)
    looked_at: int = 0  # packets that were shown to the filter
    late: int = 0  # packets that are not in the order of time
    undirected: int = 0  # whose direction the filter asks for, and nobody recorded
    segments: int = 0
    troubles: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)  # interfaces, and that they are, in words
    suspect: list[str] = field(default_factory=list)
    oldest: dict[str, int] = field(default_factory=dict)  # by ring: when what is kept begins
    recorded: dict[str, int] = field(default_factory=dict)  # by ring: from when on nothing is gone
    lossy: list[Lossy] = field(default_factory=list)  # segments in which something is missing
    holes: list[Hole] = field(default_factory=list)  # in which something of the range may have been
    terms: dict[str, list[Terms]] = field(default_factory=dict)  # by ring: of its capture
    enough: bool = False  # the limit ended it
    reader_gone: bool = False  # whoever reads the pipe ended it


class Watcher(Protocol):
    """Who is told how it goes on; may take its time."""

    def expect(self, total: int) -> None:
        """So many bytes of segments may have to be looked at."""

    def advance(self, size: int) -> None:
        """So many more were."""


def extract(
    request: Request,
    matcher: Matcher,
    output: Output,
    watcher: Watcher,
    edge: Edge | None = None,
) -> Extract:
    """Write what is asked for; with an edge, until that has passed all of it.

    FilterError, StorageError, UsageError.
    """
    wanted = request.wanted
    made = Extract()
    with Sources(wanted) as sources, _pool() as pool, Room(sources, request.places):
        streams = Streams(sources, Tools(wanted, matcher, Buffers(), pool, edge))
        watcher.expect(streams.renew())
        made.holes = [  # those that come while it goes on the streams tell of
            hole
            for hole in sources.numbers.holes()
            if hole.after < wanted.until and hole.before >= wanted.since
        ]
        made.lossy = [
            one
            for one in sources.numbers.lossy
            if one.first < wanted.until and one.last >= wanted.since
        ]
        _merge(streams, output, request.limit or UNLIMITED, watcher)
        if request.form == "pcapng":
            _name_silent(streams.all, output)
        made.reader_gone = output.reader_gone
        made.segments = streams.segments - len(sources.unread)
        made.until = wanted.until if edge is None else min(edge.until, streams.safe)
        made.enough = request.limit is not None and output.packets >= request.limit
        begun = edge.begun if edge is not None else {}
        made.recorded = {
            ring: since for ring, since in begun.items() if sources.numbers.has_first(ring)
        }
        made.terms = {stream.ring: stream.progress.terms for stream in streams.all}
        _sum_up(made, [stream.progress for stream in streams.all], sources, output)
        made.oldest = sources.numbers.oldest(wanted.since)
        made.troubles += [
            f"{path} was set aside as damaged, and is not searched"
            for path in sources.numbers.aside(wanted.since, wanted.until)
        ]
        if edge is not None and edge.elsewhere and made.until < wanted.until:
            where = f"from {format_time(made.until)} on capd records into {edge.elsewhere}"
            made.troubles.append(f"{where}: start again to have that")
    return made


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), initializer=yield_to_all)


def _merge(streams: Streams, output: Output, limit: int, watcher: Watcher) -> None:
    """The stream that is behind goes on; what is older than all that may still come is written."""
    while output.packets < limit and not output.reader_gone and not streams.ended:
        watcher.advance(streams.advance())
        output.write(streams.runs(), streams.safe, limit - output.packets)
        streams.drop_written()


def _name_silent(streams: list[RingStream], output: Output) -> None:
    """Interfaces of which nothing was wanted are in the file, too."""
    for stream in streams:
        if stream.link_type != UNKNOWN_LINK:
            output.number(Interface(stream.interface, stream.link_type))


def _sum_up(made: Extract, progress: list[Progress], sources: Sources, output: Output) -> None:
    made.packets = output.packets
    for interface, count in output.by_interface.items():
        made.by_interface[interface.name] = made.by_interface.get(interface.name, 0) + count
    made.looked_at = sum(one.packets for one in progress)
    made.late = sum(one.late for one in progress)
    made.undirected = sum(one.undirected for one in progress)
    vanished = sources.vanished
    gone = [f"{path} was deleted before it could be read" for path in vanished[:_MOST_NAMED]]
    if len(vanished) > _MOST_NAMED:
        more = format_count(len(vanished) - _MOST_NAMED)
        gone.append(f"{more} more segments were deleted before they could be read")
    made.troubles = [*sources.troubles, *gone]
    made.troubles += [trouble for one in progress for trouble in one.troubles]
    made.suspect = sources.suspect
