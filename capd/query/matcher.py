"""What a filter takes: one program for each kind of link, and the packets that it accepts.

The program is the one that the kernel gets for the same text (`filter.py`), so the same filter
means the same on a link and on stored packets; `_match.c` shows it each packet as the kernel did.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from capd.errors import FilterError
from capd.filter import FilterRequest, compile_filters
from capd.pcapng import LINKTYPE_ETHERNET, SNAPLEN
from capd.query import _match
from capd.survey import Content


class Matched(NamedTuple):
    """What came out of a run of blocks."""

    end: int  # just behind the last whole block
    behind: int  # behind the last one that is not padding
    fault: int  # as a survey has it
    packets: int  # that were looked at
    newest: int  # largest stamp among them, ns since 1970; 0: there were none
    undirected: int  # of them: the filter asks for their direction, and it was not recorded
    entries: bytearray  # for `_merge`


class Matcher:
    """One filter, in one range of time."""

    def __init__(self, text: str, since: int, until: int) -> None:
        """`since` and `until` in ns since 1970.  FilterError: libpcap does not take the filter."""
        self._text = text.strip()
        self._range = since, until
        self._programs: dict[int, bytes | FilterError] = {}
        self._compiling = threading.Lock()
        self.program(LINKTYPE_ETHERNET)

    def program(self, link_type: int) -> bytes:
        """The kernel's program for this kind of link, b"" for everything.  FilterError."""
        with self._compiling:
            if link_type not in self._programs:
                self._programs[link_type] = self._compiled(link_type)
            found = self._programs[link_type]
        if isinstance(found, FilterError):
            raise found
        return found

    def search(self, content: Content, start: int, limit: int, link_type: int) -> Matched:
        """Search content[start:limit], in which there is no head.  FilterError."""
        return Matched(
            *_match.match(content, start, limit, link_type, self.program(link_type), *self._range)
        )

    def _compiled(self, link_type: int) -> bytes | FilterError:
        if not self._text:
            return b""
        (found,) = compile_filters([FilterRequest(self._text, link_type, SNAPLEN)])
        if isinstance(found, FilterError):
            return found
        try:
            _match.match(b"", 0, 0, link_type, found, 0, 0)
        except ValueError:
            return FilterError(
                f"cannot use the filter {self._text!r}: it asks for something of the live link "
                "that segments do not record, as `ifindex` does; use --interface"
            )
        return found
