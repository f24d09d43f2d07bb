"""`capd extract`: the packets of a range that a filter takes, out of all segments, by time.

Sources are held, searched and merged here; what the answer lacks is put into words by
`completeness`.  In memory are, of each ring, the pieces in which there are packets of its last
WINDOW, and a few that are searched ahead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from capd import pcapng
from capd.query.manners import yield_to_all
from capd.query.matcher import Matcher
from capd.query.output import Format, Interface, Output
from capd.query.reading import Buffers
from capd.query.ringstream import Progress, RingStream
from capd.query.searches import Tools
from capd.query.sources import Sources, Wanted
from capd.survey import UNKNOWN_LINK

UNLIMITED = 2**63 - 1


@dataclass(frozen=True)
class Request:
    """What is asked; times in ns since 1970, [since, until)."""

    wanted: Wanted
    filter: str = ""
    limit: int | None = None  # packets
    snaplen: int = pcapng.SNAPLEN  # bytes of each
    form: Format = "pcapng"


@dataclass
class Extract:
    """What came of it."""

    packets: int = 0
    by_interface: dict[str, int] = field(default_factory=dict)
    looked_at: int = 0  # packets that were shown to the filter
    late: int = 0  # packets that are not in the order of time
    undirected: int = 0  # whose direction the filter asks for, and nobody recorded
    segments: int = 0
    troubles: list[str] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)
    oldest: dict[str, int] = field(default_factory=dict)  # by ring: when what is kept begins
    enough: bool = False  # the limit ended it
    reader_gone: bool = False  # whoever reads the pipe ended it


def extract(
    request: Request,
    matcher: Matcher,
    output: Output,
    begin: Callable[[int], None],
    advance: Callable[[int], None],
) -> Extract:
    """Write what is asked for.

    `begin` is told how many bytes of segments may have to be looked at; `advance`, how many more
    were, and may take its time.  FilterError, StorageError, UsageError.
    """
    wanted = request.wanted
    made = Extract()
    with Sources(wanted) as sources, _pool() as pool:
        tools = Tools(wanted, matcher, Buffers(), pool)
        segments = sources.hold()
        begin(sum(one.size for held in segments.values() for one in held))
        streams = [
            RingStream(ring, held, sources, tools) for ring, held in sorted(segments.items())
        ]
        _merge(streams, output, request.limit or UNLIMITED, advance)
        if request.form == "pcapng":
            _name_silent(streams, output)
        made.reader_gone = output.reader_gone
        made.segments = sum(map(len, segments.values()))
        made.enough = request.limit is not None and output.packets >= request.limit
        _sum_up(made, [stream.progress for stream in streams], sources, output)
    return made


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), initializer=yield_to_all)


def _merge(
    streams: list[RingStream], output: Output, limit: int, advance: Callable[[int], None]
) -> None:
    """The stream that is behind goes on; what is older than all that may still come is written."""
    while (
        output.packets < limit
        and not output.reader_gone
        and any(not stream.ended for stream in streams)
    ):
        behind = min(streams, key=lambda stream: stream.safe)
        before = behind.progress.bytes
        behind.advance()
        advance(behind.progress.bytes - before)
        safe = min(stream.safe for stream in streams)
        runs = [
            (Interface(stream.interface, run.link_type), run)
            for stream in streams
            for run in stream.runs
        ]
        output.write(runs, safe, limit - output.packets)
        for stream in streams:
            stream.drop_written()


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
    gone = [f"{path} was deleted before it could be read" for path in sources.vanished]
    made.troubles = [*sources.troubles, *gone]
    made.troubles += [trouble for one in progress for trouble in one.troubles]
    made.suspect, made.oldest = sources.suspect, sources.oldest
