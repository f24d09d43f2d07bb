"""What the daemon and its children say to each other: a plan and orders down, reports up.

One message is one datagram on a SEQPACKET socket pair: a JSON object whose `kind` names
the class.  Both ends are capd's own.  File descriptors are inherited, and a plan names
their numbers.

Between an upgrade's new files and the restart of the daemon a process that it starts is of the
other version.  So what one end does not know it leaves out; a new field has a default that means
what was before, and one without a default stays for ever.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, get_args

from capd.ring import Geometry

MAX_MESSAGE = 128 * 1024


class Source(NamedTuple):
    """What is captured, as the files' headers tell it."""

    interface: str
    ring: str  # the ring's name: folder, file names, reports
    link_type: int  # pcapng LINKTYPE_*
    speed: int | None  # bits per second
    filter: str  # pcap-filter(7), "" for everything
    filter_since: int  # ns since 1970: packets stamped before passed the filter before; 0 unsaid
    snaplen: int  # bytes of the frame without its outer tag
    host: str
    record_direction: bool


class Plan(NamedTuple):
    """All that a worker needs to know; equal plans need no new worker."""

    source: Source
    geometry: Geometry
    directory: str
    rotate_size: int  # bytes
    rotate_interval: int  # ns, boundaries at its multiples since 1970 (UTC)
    sync_interval: int  # ns
    require_mount: bool = False  # write nothing while the directory is on the root file system
    cpus: tuple[int, ...] = ()  # processors on which the worker runs; (): any
    second: str = ""  # where the ring may have used numbers before it had its folder; "": nowhere


class Start(NamedTuple):
    """Down, first: the plan and the inherited descriptors."""

    plan: Plan
    ring_fd: int
    state_fd: int
    since: int = 0  # ns since 1970: packets stamped before it are another ring's
    version: str = ""  # the daemon's; "": unsaid


class Expect(NamedTuple):
    """Down: another filter is about to be in force; an `Adjust` follows at once.

    Until it has come no block is taken, as there may be packets of either in it.
    """


class Adjust(NamedTuple):
    """Down: go on under this plan, which has the same geometry.

    The socket has the new filter already.  Where the plan's header differs (`Source`), the
    segment is closed at the next block that can hold packets of the new filter.
    """

    plan: Plan


class Missed(NamedTuple):
    """Down: packets that the NIC had no room for, since this was said last."""

    packets: int


class Finish(NamedTuple):
    """Down: drain to the last accepted packet, close the segment, leave."""

    until: int = 0  # ns since 1970: another ring has the packets stamped from then on; 0: none has


class Counters(NamedTuple):
    """Where every packet of a ring went since the ring was made (promise P1).

    received == written + dropped + disk + malformed + overlap, once the ring is drained.
    """

    received: int = 0  # accepted by the filter, as the kernel counts (tp_packets)
    dropped: int = 0  # no room in the ring (tp_drops)
    freezes: int = 0  # times the ring was full (events, not packets)
    written: int = 0  # in a segment
    disk: int = 0  # drained, but the disk did not take them
    malformed: int = 0  # announced by a block that does not hold them
    overlap: int = 0  # written by another ring during a change of rings
    clamped: int = 0  # of those written: cut short because no block could hold them whole
    bytes: int = 0  # of pcapng in segments
    files: int = 0  # segments that have their final name
    refused: int = 0  # bytes in the ring's blocks that were given up because of the disk

    @property
    def lost(self) -> int:
        """Packets that the kernel accepted and no segment has."""
        return self.dropped + self.disk + self.malformed

    @property
    def unaccounted(self) -> int:
        """Packets still in the ring; 0 once it is drained."""
        return self.received - self.written - self.lost - self.overlap


class Sample(NamedTuple):
    """A tenth of a second of a worker, or more if nothing came; counts are the ring's totals."""

    at: int  # ns since 1970: its end
    waiting: int  # blocks that waited to be written, at the most
    written: int
    dropped: int
    disk: int
    writes: int  # that ended in it
    slowest: int  # ns that the longest of those took
    writing: int  # ns that all of those took
    refused: bool  # whether the disk took nothing


class Report(NamedTuple):
    """Up, every second: progress from the capture loop itself."""

    turns: int  # of the loop: a quiet link is not a hang
    counters: Counters
    segment: int | None  # number of the one being written, or to be gone on with; None: no file
    segment_bytes: int
    filled: float  # share of the ring's blocks that wait to be written
    oldest: int | None = None  # the lowest number of a file that is still needed
    writes: tuple[int, ...] = ()  # by time taken (`latency`), since the worker began
    samples: tuple[Sample, ...] = ()  # since the report before
    refusal: str = ""  # why the disk took nothing, when it last did
    at: int = 0  # ns since 1970: when all this was so
    full: bool = False  # whether the disk has no room for what it is to take, or for the next file

    @property
    def refused(self) -> bool:
        """Whether the disk takes nothing, be it into a file or none at all."""
        return self.segment is None or bool(self.samples and self.samples[-1].refused)


class Event(NamedTuple):
    """Up: something that a person should read."""

    name: str  # of an events.Kind
    text: str
    facts: dict[str, int]  # what programs want to know of it


class Finished(NamedTuple):
    """Up, last: the ring is drained and the segment closed."""

    counters: Counters
    until: int = 0  # the instant at which it really ended; later than asked for after a stall


class ArchivePlan(NamedTuple):
    """All that the archive process needs to know."""

    directory: str
    require_mount: bool  # do nothing while `directory` is not on a mount of its own
    compress: bool  # else closed segments are only indexed
    level: int  # zstd's
    threads: int  # segments at a time; 0: one for every two processors
    section_size: int  # bytes of a segment that can be read alone
    second: str = ""  # a second, slower directory, to which finished segments move; "": none
    second_require_mount: bool = False


class ArchiveStart(NamedTuple):
    """Down to the archive process, first: the plan."""

    plan: ArchivePlan


class ArchiveAdjust(NamedTuple):
    """Down to the archive process: go on under this plan; what was begun is finished."""

    plan: ArchivePlan


class Load(NamedTuple):
    """Down to the archive process, every second: without it, it pauses."""

    filled: float  # the largest share of any ring's blocks that wait to be written
    late: bool  # whether the disk is late with what capture writes
    reserve: int | None = None  # bytes to stay free in the second directory; None: do not use it
    full: bool = False  # whether the disk has no room for what capture writes


class Look(NamedTuple):
    """Down to the archive process: a segment was closed."""


class Salvage(NamedTuple):
    """Down to the archive process: these `.part` files belong to nobody."""

    ring: str
    seqs: tuple[int, ...]


class ArchiveReport(NamedTuple):
    """Up from the archive process, every second; counts since it started."""

    turns: int  # of its loop
    backlog: int  # closed segments without an index
    raw_left: int  # indexed ones that are to be compressed when there is nothing newer to do
    indexed: int
    compressed: int
    raw_bytes: int  # of those compressed, before
    compressed_bytes: int  # and after
    paused: bool
    level: int  # for what is begun now; 0: it is left raw
    unmoved: int = 0  # finished segments that are to move to the second directory
    wanted: int = 0  # bytes that the next of them takes there
    moved: int = 0
    moved_bytes: int = 0
    refused: int = 0  # times that there was no room for one, whatever the free space says
    second: str = ""  # the directory to which they move now; "": none, or unsaid


class Unknown(NamedTuple):
    """Up or down: what this version has no word for."""

    name: str


Message = (
    Start
    | Expect
    | Adjust
    | Missed
    | Finish
    | Report
    | Event
    | Finished
    | ArchiveStart
    | ArchiveAdjust
    | Load
    | Look
    | Salvage
    | ArchiveReport
    | Unknown
)
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """One datagram."""
    return json.dumps({"kind": type(message).__name__} | plain(message)).encode()


def decode(datagram: bytes) -> Message:
    """The message in a datagram."""
    fields = json.loads(datagram)
    name = fields.pop("kind")
    if name not in _KINDS:
        return Unknown(name)
    kind = _KINDS[name]
    if kind is ArchiveStart or kind is ArchiveAdjust:
        fields["plan"] = ArchivePlan(**known(ArchivePlan, fields["plan"]))
    elif "plan" in fields:
        fields["plan"] = plan_of(fields["plan"])
    if "seqs" in fields:
        fields["seqs"] = tuple(fields["seqs"])
    if "counters" in fields:
        fields["counters"] = Counters(**known(Counters, fields["counters"]))
    if kind is Report:
        fields["writes"] = tuple(fields["writes"])
        fields["samples"] = tuple(Sample(*one[: len(Sample._fields)]) for one in fields["samples"])
    return kind(**known(kind, fields))


def known(kind: type[Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Those of the fields that this version has."""
    return {name: value for name, value in fields.items() if name in kind._fields}


def plain(value: NamedTuple) -> dict[str, Any]:
    """A message, or what is in one, as JSON takes it."""
    fields = value._asdict()
    return {key: plain(one) if hasattr(one, "_asdict") else one for key, one in fields.items()}


def plan_of(fields: dict[str, Any]) -> Plan:
    """The plan that `plain` made this of."""
    source = Source(**known(Source, fields["source"]))
    geometry = Geometry(**known(Geometry, fields["geometry"]))
    cpus = tuple(fields["cpus"])
    return Plan(**known(Plan, fields) | {"source": source, "geometry": geometry, "cpus": cpus})
