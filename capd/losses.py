"""The record of a gap or a loss: the journal, the status file and what reads them share it.

A gap is a time in which nobody could see packets (stage `link`); a loss is packets that were
there and are in no segment.  Unknown is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

STAGES = ("nic", "backlog", "link", "ring", "disk", "capd")


@dataclass(frozen=True)
class Loss:
    """What is missing of one interface's packets, where it went missing, and why."""

    interface: str
    stage: str  # one of STAGES
    since: int  # ns since 1970
    until: int | None  # the same; None while it goes on
    packets: int | None  # None: nobody can know
    cause: str  # in words, with what to do about it where there is something
    at_most: bool = False  # `packets` is an upper bound
