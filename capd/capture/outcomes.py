"""What comes of the keeper's tasks, on the way back to the capture loop."""

from __future__ import annotations

from typing import NamedTuple

from capd.capture.state import SegmentState
from capd.events import Kind


class Spare(NamedTuple):
    """A file with nothing but a header, ready to become the current segment."""

    seq: int
    fd: int
    header: bytes


class Left(NamedTuple):
    """The file that another worker was writing, to go on with."""

    seq: int
    fd: int


class Closed(NamedTuple):
    """A segment under its final name, or without one: deleted meanwhile, or not to be read."""

    segment: SegmentState
    path: str | None


class Trouble(NamedTuple):
    """Something a person should know."""

    kind: Kind
    text: str
    renew: bool = False  # whether the current segment had better end here


Outcome = Spare | Left | Closed | Trouble
