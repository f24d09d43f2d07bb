"""Indexes of raw segments, made the plain way."""

from __future__ import annotations

import zlib

from capd.index import Index, Section
from capd.survey import UNKNOWN_LINK, survey


def index_of(content: bytes, size: int) -> Index:
    """The index of a raw segment in sections of at most `size` bytes."""
    sections, at, link_type = [], 0, UNKNOWN_LINK
    while at < len(content):
        found = survey(content, at, min(at + size, len(content)), link_type, sketch=True)
        assert found.end > at
        link_type = found.link_type
        places = (at, found.end - at) * 2
        counts = (found.first, found.last, found.packets, found.lost, found.closed)
        crc = zlib.crc32(content[at : found.end])
        sections.append(Section(*places, *counts, crc, found.sketch))
        at = found.end
    return Index(len(content), len(content), link_type, tuple(sections))
