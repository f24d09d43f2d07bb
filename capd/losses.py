"""The record of a gap or a loss: journal, status file, ledger and what reads them share it.

A gap is a time in which nobody could see packets (stage `link`); a loss is packets that were
there and are in no segment.  Unknown is None, never 0.  In the ledger a record is a line of JSON.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from capd.units import DURATIONS, MAX, SECOND, format_count

STAGES = ("nic", "backlog", "link", "ring", "disk", "capd")
NOT_CAPTURED = "capd was not capturing it"  # the cause of a gap at the link
FORMAT = 1  # of a line; a later version that only adds keys keeps it


@dataclass(frozen=True)
class Loss:
    """What is missing of one interface's packets, where it went missing, and why."""

    interface: str  # "" where it may be any: the backlog is the machine's
    stage: str  # one of STAGES
    since: int  # ns since 1970
    until: int | None  # the same; None while it goes on
    packets: int | None  # None: nobody can know
    cause: str  # in words
    at_most: bool = False  # `packets` is an upper bound
    change: str = ""  # the one thing to change, with the value
    samples: str = ""  # the name of the file in the ledger's folder with samples from around it

    @property
    def whose(self) -> str:
        """The interface, for people."""
        return self.interface or "any interface"


def encode(loss: Loss) -> str:
    """The record as a line, without its end."""
    return json.dumps({"format": FORMAT} | asdict(loss))


def decode(line: str | bytes) -> Loss:
    """What `encode` gave, by this version or one that added keys; ValueError for anything else."""
    try:
        fields = json.loads(line)
    except RecursionError as error:
        raise ValueError("not a record") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise ValueError("not a record of this format")
    known = {name: fields[name] for name in Loss.__dataclass_fields__ if name in fields}
    for name, value in known.items():
        if not _fits(name, value):
            raise ValueError(f"{name} is not one")
    try:
        return Loss(**known)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _fits(name: str, value: object) -> bool:
    if name == "at_most":
        return isinstance(value, bool)
    if name in ("since", "until", "packets"):
        number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX
        return number or (value is None and name != "since")
    return isinstance(value, str)


def describe(loss: Loss) -> str:
    """The record in words, without the interface."""
    span = _span(loss.since, loss.until)
    why = f"{loss.cause}; {loss.change}" if loss.change else loss.cause
    if loss.stage == "link":
        lasted = "" if loss.until is None else f" ({lasting(loss.until - loss.since)})"
        return f"no packets {span}{lasted}: {why}"
    if loss.packets is None:
        return f"lost an unknown number of packets at the {loss.stage} {span}: {why}"
    most = "at most " if loss.at_most else ""
    noun = "packet" if loss.packets == 1 else "packets"
    return f"lost {most}{format_count(loss.packets)} {noun} at the {loss.stage} {span}: {why}"


def _span(since: int, until: int | None) -> str:
    """The date once, unless there are two."""
    (date, begin), (last, end) = _clock(since), _clock(since if until is None else until)
    if until is None:
        return f"from {date} {begin} UTC on"
    return f"from {date} {begin} to {end if last == date else f'{last} {end}'} UTC"


def _clock(moment: int) -> tuple[str, str]:
    """Date and time of day, in UTC; as much of the fraction of a second as people read."""
    seconds, rest = divmod(moment, SECOND)
    date, clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)).split()
    return date, f"{clock}.{rest // 10**6:03}"


def lasting(nanoseconds: int) -> str:
    """About how long: `250 ms`, `4.2 s`, `90 min`, `30 h`, `3 d`."""
    if nanoseconds < SECOND:
        return f"{nanoseconds // 10**6} ms"
    if nanoseconds < 100 * SECOND:
        return f"{nanoseconds / SECOND:.1f} s"
    for unit, enough in (("min", 100), ("h", 48)):
        if nanoseconds < enough * DURATIONS[unit]:
            return f"{nanoseconds // DURATIONS[unit]} {unit}"
    return f"{nanoseconds // DURATIONS['d']} d"
