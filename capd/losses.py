"""The record of a gap or a loss: the journal, the status file and what reads them share it.

A gap is a time in which nobody could see packets (stage `link`); a loss is packets that were
there and are in no segment.  Unknown is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from capd.units import format_count, format_time

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


def describe(loss: Loss) -> str:
    """The record in words, without the interface."""
    span = f"from {format_time(loss.since)}"
    if loss.until is None:
        span += ", still"
    else:
        span += f" to {format_time(loss.until)}"
    if loss.stage == "link":
        return f"no packets {span}: {loss.cause}"
    if loss.packets is None:
        return f"lost an unknown number of packets at the {loss.stage} {span}: {loss.cause}"
    most = "at most " if loss.at_most else ""
    return (
        f"lost {most}{format_count(loss.packets)} packets at the {loss.stage} {span}: {loss.cause}"
    )
