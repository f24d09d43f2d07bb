"""The rings of an extraction, side by side: which goes on, and what of all is safe to write.

New segments and new rings join while it runs, if there is an edge to follow.
"""

from __future__ import annotations

import time

from capd.query.output import Interface
from capd.query.ringstream import RingStream, Run
from capd.query.searches import NEVER, Tools
from capd.query.sources import Sources


class Streams:
    """All of them."""

    def __init__(self, sources: Sources, tools: Tools) -> None:
        self.segments = 0  # that were found
        self._sources = sources
        self._tools = tools
        self._rings: dict[str, RingStream] = {}

    @property
    def all(self) -> list[RingStream]:
        """By name."""
        return [self._rings[ring] for ring in sorted(self._rings)]

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come, or enough has."""
        edge = self._tools.edge
        if edge is not None and edge.is_over:
            return True
        if edge is not None and not self._rings:
            return edge.until <= time.time_ns()
        return all(stream.ended for stream in self._rings.values())

    @property
    def safe(self) -> int:
        """The key, in ns since 1970, below which everything of all rings is here."""
        return min((stream.safe for stream in self._rings.values()), default=NEVER)

    def runs(self) -> list[tuple[Interface, Run]]:
        """What is here and not written."""
        return [
            (Interface(stream.interface, run.link_type), run)
            for stream in self.all
            for run in stream.runs
        ]

    def renew(self) -> int:
        """Take in what there is to read by now; gives how many bytes of files that is."""
        edge, sources = self._tools.edge, self._sources
        found = sources.hold() if edge is None else edge.fresh(sources)
        if edge is not None:
            for ring, since in edge.begun.items():
                if since < edge.until and self._tools.wanted.has(ring):
                    self._stream(ring)  # its first packets may be in it, and in no segment yet
        for ring, segments in found.items():
            self._stream(ring).add(segments)
            self.segments += len(segments)
        return sum(held.size for segments in found.values() for held in segments)

    def _stream(self, ring: str) -> RingStream:
        if ring not in self._rings:
            self._rings[ring] = RingStream(ring, self._sources, self._tools)
        return self._rings[ring]

    def advance(self) -> int:
        """The ring that is behind goes on; gives how many bytes of files it looked at."""
        edge = self._tools.edge
        going = (stream for stream in self._rings.values() if not stream.ended)
        behind = min(going, key=lambda stream: stream.safe, default=None)
        if edge is not None and (behind is None or behind.waits):
            edge.look()
            self.renew()
        if behind is None:
            return 0
        before = behind.progress.bytes
        behind.advance()
        return behind.progress.bytes - before

    def drop_written(self) -> None:
        """Let go what is in the file."""
        for stream in self._rings.values():
            stream.drop_written()
