"""On what terms packets were captured: what the filter left out then is in no segment, nor lost.

The head of each segment tells it.  One that cannot be read tells nothing; searching names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

import zstandard

from capd import pcapng
from capd.query.reading import Reader, Stream
from capd.query.source import Source
from capd.units import format_count, format_time

# Bytes: what most heads fit into, and more than one has with the longest filter.  Of each segment
# these are read, whatever is searched in it.
_HEADS = (4096, 65536)


@dataclass(frozen=True)
class Terms:
    """From some segment of a ring on."""

    since: int  # ns since 1970: that segment's first packet; 0: not known
    filter: str  # "" for everything
    snaplen: int  # bytes of each packet

    def are_those_of(self, other: Terms) -> bool:
        """Whether it is the same that they leave out."""
        return (self.filter, self.snaplen) == (other.filter, other.snaplen)


def terms_of(held: Source) -> Terms | None:
    """Those of one segment."""
    for size in _HEADS:
        try:
            content = _head(held, size)
        except (OSError, zstandard.ZstdError):
            return None
        found = pcapng.read_header(content)
        if found or len(content) < size:
            break
    return found and Terms(held.stamp or held.first, *found)


def _head(held: Source, size: int) -> bytes:
    source = Stream(Reader(held.data.fileno()))
    if not held.compressed:
        return source.read(size)
    decoder = zstandard.ZstdDecompressor()
    with decoder.stream_reader(cast(BinaryIO, source), read_size=size) as decoded:
        return decoded.read(size)


def restrictions(terms: Mapping[str, list[Terms]]) -> Iterator[str]:
    """What of a ring's terms leaves packets out, or bytes of them; and when it was otherwise."""
    by_words: dict[str, list[str]] = {}
    for ring, every in terms.items():
        for words in _of_ring(every):
            by_words.setdefault(words, []).append(ring)
    for words, rings in by_words.items():
        yield f"{', '.join(rings)}: {words}"


def _of_ring(every: Iterable[Terms]) -> Iterator[str]:
    listed = list(every)
    if len(listed) == 1 and not _limits(listed[0]):
        return
    for each in listed:
        words = f"captured with {' and '.join(_limits(each)) or 'no filter'}"
        yield words if len(listed) == 1 else f"from {format_time(each.since)} on {words}"


def _limits(terms: Terms) -> list[str]:
    limits = [f"the filter {terms.filter!r}"] if terms.filter else []
    if terms.snaplen < pcapng.SNAPLEN:
        limits.append(f"snaplen {format_count(terms.snaplen)}")
    return limits
