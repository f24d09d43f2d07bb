"""The packets of one ring that are wanted, as runs in the order of time.

A ring's packets are in its segments in the order in which the kernel had them, which is the order
of their stamps but for what several processors do at once, and for clocks that are set.  Packets
that come up to WINDOW later than a younger one are put right.  What comes later than that stays
where it is, counts as just so old, and is counted: so the order depends on the packets alone, not
on where sections end or whether there is an index; only where more than MOST_WAITING of packets
lie within one WINDOW, a part of it must do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from capd.names import interface_of
from capd.query import _merge
from capd.query.edge import PATIENCE, Edge
from capd.query.searches import NEVER, WINDOW, Found, Tools, search
from capd.query.source import Source
from capd.query.sources import Sources
from capd.query.terms import Terms, terms_of
from capd.survey import UNKNOWN_LINK, Content
from capd.units import format_time

AHEAD = 3  # pieces that are searched before they are needed
MOST_WAITING = 256 * 2**20  # bytes of pieces that wait for what may come before their packets
ENTRY = 16  # bytes of one match


@dataclass
class Run:
    """Matches of one piece, in order."""

    content: Content
    entries: bytearray
    link_type: int
    written: int = 0  # entries

    @property
    def is_written(self) -> bool:
        """Whether nothing is left of it."""
        return self.written * ENTRY >= len(self.entries)


@dataclass
class Progress:
    """What was looked at so far."""

    bytes: int = 0  # of files
    packets: int = 0
    late: int = 0  # packets that are not in the order of time
    undirected: int = 0
    troubles: list[str] = field(default_factory=list)
    terms: list[Terms] = field(default_factory=list)  # on which it was captured, as they changed


class _Piece(NamedTuple):
    """One that is being searched."""

    future: Future[Found]
    held: Source
    bound: int  # ns: nothing in the segments after this one's is stamped before


class RingStream:
    """One ring."""

    def __init__(self, ring: str, sources: Sources, tools: Tools) -> None:
        self.ring = ring
        self.runs: deque[Run] = deque()
        self.progress = Progress()
        self.ended = False
        self.link_type = UNKNOWN_LINK  # of what was read last
        self._sources = sources
        self._tools = tools
        self._newest = 0
        self._settled = -WINDOW  # ns: what comes from now on and is stamped before is late
        self._crowded = False
        self._segments: deque[tuple[Source, int]] = deque()  # still to be read; and their bounds
        self._last = 0  # the number of the one that was added last
        self._waits_since = -1  # the turn of the edge at which nothing more was there
        self._pieces = self._all_pieces()
        self._ahead: deque[_Piece] = deque()
        self._bound = 0
        self._read_to = 0  # ns: what is not in a segment yet is not stamped before
        self._patient_since = 0  # by the monotonic clock; 0: all was known whenever it was asked
        self._reading: Source | None = None

    @property
    def interface(self) -> str:
        """The interface that the ring is of."""
        return interface_of(self.ring)

    @property
    def safe(self) -> int:
        """The key, in ns since 1970, below which everything is here."""
        return NEVER if self.ended else max(self._settled + self._crowded, self._bound)

    @property
    def waits(self) -> bool:
        """Whether there is nothing more to read until the edge moves."""
        return self._tools.edge is not None and self._waits_since == self._tools.edge.turn

    def add(self, segments: list[Source]) -> None:
        """What there is to read behind all that was added before, in order."""
        self._note_missing(segments)
        edge = self._tools.edge
        bound = NEVER if edge is None else edge.patience
        bounds = [bound]
        for held in reversed(segments[1:]):
            bound = min(bound, _least(held))
            bounds.append(bound)
        self._segments.extend(zip(segments, reversed(bounds), strict=True))

    def advance(self) -> None:
        """Go on by one piece."""
        while len(self._ahead) < AHEAD and (piece := next(self._pieces, None)) is not None:
            self._ahead.append(piece)
        if not self._ahead:
            self._wait()
            return
        piece = self._ahead.popleft()
        found = piece.future.result()
        if self._reading is not None and piece.held is not self._reading:
            self._sources.release(self._reading)
        self._reading = piece.held
        if found.link_type != UNKNOWN_LINK:
            self.link_type = found.link_type
        progress = self.progress
        progress.bytes += found.looked_at
        progress.packets += found.packets
        progress.undirected += found.undirected
        if found.trouble:
            progress.troubles.append(found.trouble)
        if found.refused:
            refused = f"{self.interface}: not searched: {found.refused}"
            progress.troubles += [refused] if refused not in progress.troubles else []
        self._bound = max(self._bound, min(piece.bound, found.bound))
        if piece.held.index is None:  # it was walked: its bound is of what was read
            self._read_to = max(self._read_to, found.bound)
        if found.entries:
            self._take(found)

    def _take(self, found: Found) -> None:
        """Put what was found in order; with too much that waits, all of it may be written."""
        window = min(WINDOW, self._newest - self._settled)
        self._newest, late = _merge.order(found.entries, self._newest, window)
        self.progress.late += late
        self.runs.append(Run(found.content, found.entries, found.link_type))
        self._crowded = sum(len(run.content) for run in self.runs) > MOST_WAITING
        self._settled = max(self._settled, self._newest - WINDOW * (not self._crowded))

    def drop_written(self) -> None:
        """Let go what is in the file."""
        kept: deque[Run] = deque()
        for run in self.runs:
            if run.is_written:
                self._tools.buffers.give(run.content)
            else:
                kept.append(run)
        self.runs = kept

    def _wait(self) -> None:
        """All is read that is there: what is stamped from now on may still come, or nothing."""
        edge = self._tools.edge
        if edge is not None:
            self._waits_since = edge.turn
            self._bound = max(self._bound, edge.bound(self.ring))
        self.ended = edge is None or (self._bound >= edge.until and self._is_known(edge))

    def _is_known(self, edge: Edge) -> bool:
        """Whether all is known to be here, or enough was waited for it: then that is said."""
        newest = self._sources.numbers.reach(self.ring) - WINDOW
        known = max(edge.known(self.ring), newest, self._read_to)
        if known >= edge.until:
            return True
        now = time.monotonic_ns()
        self._patient_since = self._patient_since or now
        if now - self._patient_since < PATIENCE:
            return False
        first = format_time(max(known, self._tools.wanted.since))
        text = f"{self.ring}: packets from {first} on may still be in the ring"
        self.progress.troubles.append(text)
        return True

    def _note_missing(self, segments: list[Source]) -> None:
        """Name the numbers between this and what was added before that were never there.

        A crash leaves numbers out: of segments that were there before nobody can tell.
        """
        follows = self._last > 0
        for held in segments:
            if self._last and follows:
                missing = self._sources.misses(self.ring, range(self._last + 1, held.seq))
                self.progress.troubles += [
                    f"{self.ring}: segment {seq} was deleted before it could be read"
                    for seq in missing
                ]
            self._last = held.seq

    def _all_pieces(self) -> Iterator[_Piece | None]:
        while self._segments or self._tools.edge is not None:
            if not self._segments:
                yield None
                continue
            waiting, bound = self._segments.popleft()
            held = self._sources.take(waiting)
            if held is None:  # `vanished` tells of it
                continue
            self._note_terms(held)
            for future in search(held, self._tools):
                yield None if future is None else _Piece(future, held, bound)

    def _note_terms(self, held: Source) -> None:
        terms, known = terms_of(held), self.progress.terms
        if terms is not None and not (known and terms.are_those_of(known[-1])):
            known.append(terms)


def _least(held: Source) -> int:
    """What is in a segment is not stamped before, but for packets that are too late."""
    return held.first if held.index is not None else max(0, held.first - WINDOW)
