"""What a filter takes: one program for each kind of link, and the packets that it accepts.

The program is the one that the kernel gets for the same text (`filter.py`), so the same filter
means the same on a link and on stored packets; `_match.c` shows it each packet as the kernel did.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from capd.errors import CompilerError, FilterError
from capd.filter import FilterRequest, Outcome, compile_filters, rejects_all
from capd.pcapng import LINKTYPE_ETHERNET, SNAPLEN
from capd.query import _match
from capd.query.conditions import Conditions
from capd.query.registers import INSTRUCTION, RET
from capd.survey import Content

_LINK_TYPES = (LINKTYPE_ETHERNET, 101, 127)  # LINKTYPE_*; raw IP, radio: those that are captured
_NOTHING = INSTRUCTION.pack(RET, 0, 0, 0)


class _NotStoredError(FilterError):
    """It asks for what segments do not record."""


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
        """`since` and `until` in ns since 1970.  FilterError: it is one on no kind of link."""
        self._text = text.strip()
        self._range = since, until
        self._programs: dict[int, Outcome] = {}
        self._conditions: dict[int, Conditions] = {}
        self._compiling = threading.Lock()
        self._compile(*_LINK_TYPES)
        refused = [one for one in self._programs.values() if isinstance(one, FilterError)]
        unknown = [one for one in refused if isinstance(one, CompilerError)]
        ethernet = self._programs[LINKTYPE_ETHERNET]
        if unknown:
            raise unknown[0]
        if isinstance(ethernet, FilterError) and (
            isinstance(ethernet, _NotStoredError)
            or rejects_all(ethernet)
            or len(refused) == len(self._programs)
        ):
            raise ethernet

    def program(self, link_type: int) -> bytes:
        """The kernel's program for this kind of link, b"" for everything.

        FilterError: the filter has words that mean nothing there.
        """
        with self._compiling:
            if link_type not in self._programs:
                self._compile(link_type)
            found = self._programs[link_type]
        if isinstance(found, bytes):
            return found
        if rejects_all(found):
            return _NOTHING
        raise found

    def conditions(self, link_type: int) -> Conditions:
        """What a section of this kind of link must perhaps hold; without a program, nothing."""
        if link_type not in self._conditions:
            try:
                program = self.program(link_type)
            except FilterError:  # searching says so
                program = b""
            self._conditions[link_type] = Conditions.of(program, link_type)
        return self._conditions[link_type]

    def search(self, content: Content, start: int, limit: int, link_type: int) -> Matched:
        """Search content[start:limit], in which there is no head.  FilterError."""
        return Matched(
            *_match.match(content, start, limit, link_type, self.program(link_type), *self._range)
        )

    def _compile(self, *link_types: int) -> None:
        requests = [FilterRequest(self._text, link_type, SNAPLEN) for link_type in link_types]
        outcomes = compile_filters(requests) if self._text else [b""] * len(requests)
        for link_type, found in zip(link_types, outcomes, strict=True):
            self._programs[link_type] = self._usable(found, link_type)

    def _usable(self, found: Outcome, link_type: int) -> Outcome:
        if isinstance(found, FilterError):
            return found
        try:
            _match.match(b"", 0, 0, link_type, found, 0, 0)
        except ValueError:
            return _NotStoredError(
                f"cannot use the filter {self._text!r}: it asks for something of the live link "
                "that segments do not record, as `ifindex` does; use --interface"
            )
        return found
