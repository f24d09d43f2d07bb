"""Why packets were lost, probably, and the one thing to change: from evidence to words.

Pure.  The order is that of certainty: a worker that was stopped explains a full ring whatever the
disk did meanwhile.  A cause is a label on a number; it makes no number.
"""

from __future__ import annotations

from typing import NamedTuple

from capd.daemon.evidence import Evidence
from capd.daemon.gauge import LATE
from capd.losses import lasting
from capd.units import MAX, format_count, format_size

MOST = 1 / 3  # share of the time that makes something the cause
BUSY = 9 / 10  # share of a processor that is all of it
MEMORY_SHARE = 4  # a ring that takes more than a quarter of the memory is no advice
IN_RING = 160  # bytes that a packet takes in a ring besides itself, at the most


class Cause(NamedTuple):
    """In words, and what to change, with the value; "": nothing would have helped."""

    text: str
    change: str = ""


class RingFacts(NamedTuple):
    """What `ring` needs to know of a ring besides the evidence."""

    size: int  # bytes
    packet: int  # bytes of a packet, about
    memory: int  # bytes that the machine has
    directory: str
    refusal: str  # why the disk took nothing, as the system said it; "": it did not say
    idlest: int | None = None  # the processor with the most time to spare


def ring(lost: int, facts: RingFacts, evidence: Evidence) -> Cause:
    """Of packets that found no room in a ring."""
    full = f"its ring of {format_size(facts.size)} was full"
    larger = _larger_ring(lost, facts)
    undrained = _undrained(evidence)
    if undrained:
        return Cause(f"{full} while {undrained}", larger)
    if evidence.late:
        return _late(full, larger, facts, evidence)
    if evidence.waited >= MOST:
        pressure = "" if evidence.pressure is None else f" (PSI: {evidence.pressure:.0%})"
        text = f"{full}: its worker waited for a processor {evidence.waited:.0%} of the time"
        return Cause(text + pressure, f"cpus = [{facts.idlest or 0}], and keep others off it")
    if evidence.ran >= BUSY:
        text = f"{full}: its worker had a whole processor and was not fast enough"
        return Cause(text, "record less: filter, or snaplen")
    return Cause(f"{full}: more came at once than it holds", larger)


def _undrained(evidence: Evidence) -> str:
    """Why nobody drained the ring, if nobody did."""
    length = lasting(evidence.length)
    if not evidence.watched:
        return "capd did not run, or was starting"
    if evidence.stopped >= MOST:
        return f"its worker was stopped (SIGSTOP), for about {length}"
    return f"no worker drained it, for about {length}" if evidence.absent >= MOST else ""


def _late(full: str, larger: str, facts: RingFacts, evidence: Evidence) -> Cause:
    if evidence.refused:
        return Cause(f"{full} while the disk took nothing{_reason(facts)}", _room(facts))
    text = f"{full} while the disk was late: {evidence.writing:.0%} of the time went into writes"
    stall = evidence.slowest >= evidence.length // 2
    text += f", {lasting(evidence.slowest)} into one" if evidence.slowest >= LATE else ""
    return Cause(text, larger if stall else f"a faster disk for {facts.directory}, or snaplen")


def disk(facts: RingFacts) -> Cause:
    """Of packets that were given up because the disk did not take them."""
    return Cause(f"the disk did not take them in time{_reason(facts)}", _room(facts))


def malformed() -> Cause:
    """Of packets that a block of the ring announced and did not hold."""
    return Cause("the kernel's ring did not hold what it announced", "report it as a bug")


def backlog(limit: int | None, evidence: Evidence) -> Cause:
    """Of packets that a processor's queue had no room for; `limit`: netdev_max_backlog."""
    which = ", ".join(map(str, sorted(evidence.dropping)))
    whose = f"processor {which}" if which else "a processor"
    told = "" if limit is None else f" (net.core.netdev_max_backlog {format_count(limit)})"
    wanted = 2 * (limit or 1000) + max(evidence.dropping.values(), default=0)
    value = 1 << (wanted - 1).bit_length()
    return Cause(
        f"the backlog of {whose} was full{told}: of any interface with RPS or without NAPI",
        f'"net.core.netdev_max_backlog" = {min(value, 2**31 - 1)} below [tuning.sysctl]',
    )


def nic(advice: str, evidence: Evidence) -> Cause:
    """Of packets that a NIC had no descriptor or buffer for."""
    text = "the NIC had no room for them: its ring was full before the kernel emptied it"
    if evidence.squeezed:
        text += f"; a processor had to leave packets for later {evidence.squeezed} times"
    return Cause(text, advice)


def _reason(facts: RingFacts) -> str:
    return f": {facts.refusal}" if facts.refusal else ""


def _room(facts: RingFacts) -> str:
    return f"look at the disk of {facts.directory}: its free space, and its errors (journalctl -k)"


def _larger_ring(lost: int, facts: RingFacts) -> str:
    """A ring that would have held what was lost too."""
    wanted = facts.size + lost * (facts.packet + IN_RING)
    size = 1 << (wanted - 1).bit_length()
    if size > min(MAX, facts.memory // MEMORY_SHARE):
        return f"no ring holds that much: it would take {format_size(size)} of memory"
    return f'ring_size = "{format_size(size).replace(" ", "")}"'
