"""The state page: how far a ring has come, in memory that outlives the worker.

The page is a memfd that travels with the ring.  It decides what is committed, never the
end of a file: a failed or interrupted write can have changed the last page of it.

    0     magic
    8     cookie of the ring's socket: a page of another ring is not believed
    64    the slot in force, published by one 64-bit store
    512   three slots

A slot holds its generation, the time, a `State`, and the kernel's counters since the slot before
it.  To commit: fill a slot, let the kernel write its counters straight into it (reading
them zeroes them, so read-then-store would lose them at a kill), then publish.  A kill
between the last two leaves a slot that is not in force, but holds counters that exist
nowhere else.  The next commit spares that slot and the one in force: hence three.
Only the holder of a record lock on the page may touch the ring.
"""

from __future__ import annotations

import fcntl
import mmap
import struct
import time
from typing import NamedTuple

from capd.capture import _pack
from capd.capture.staging import Packed
from capd.errors import RingError
from capd.messages import Counters

PAGE_SIZE = 4096
NEVER = 2**64 - 1  # the smallest stamp of a segment without a packet

_MAGIC = b"capdrng3"  # of this layout
_COOKIE = 8
_IN_FORCE = 64
_SLOTS = (512, 1024, 1536)


class SegmentState(NamedTuple):
    """One segment's share of what happened; `seq` 0 is none."""

    seq: int = 0
    length: int = 0  # bytes committed
    first: int = NEVER  # smallest and largest stamp, ns since 1970
    last: int = 0
    written: int = 0  # packets
    dropped: int = 0
    disk: int = 0
    malformed: int = 0
    missed: int = 0  # what the NIC had no room for meanwhile: they never came near the ring

    @property
    def lost(self) -> int:
        """Packets that are missing from this segment."""
        return self.dropped + self.disk + self.malformed

    @property
    def stamp(self) -> int:
        """By which it is named: the smallest in it, or now if there is none."""
        return time.time_ns() if self.first == NEVER else self.first


class Statistics(NamedTuple):
    """struct tpacket_stats_v3: what the kernel counted since it was last asked."""

    packets: int = 0  # drops included
    drops: int = 0
    freezes: int = 0


class State(NamedTuple):
    """Everything a worker must know to go on where another stopped."""

    block: int = 0  # number of the last block committed
    segment: SegmentState = SegmentState()
    closing: SegmentState = SegmentState()  # complete, but without its final name yet
    counters: Counters = Counters()
    header: int = 0  # fingerprint of the header with which the segment began
    latest: int = 0  # the largest stamp written, in whatever segment; ns since 1970
    until: int = 0  # packets stamped from then on are another ring's; 0: no other ring
    shared: int = 0  # the last block that may hold packets of the ring before; 0: not known yet

    @property
    def oldest(self) -> int | None:
        """The lowest number of a segment that has no final name yet; None if there is none."""
        return min((one.seq for one in (self.segment, self.closing) if one.seq), default=None)

    def with_block(self, number: int, packed: Packed, before: int, length: int) -> State:
        """With a ring block that made the segment grow from `before` to `length` bytes."""
        segment, counters = self.segment, self.counters
        return self._replace(
            block=number,
            latest=max(self.latest, packed.last),
            segment=segment._replace(
                length=length,
                first=min(segment.first, packed.first),
                last=max(segment.last, packed.last),
                written=segment.written + packed.packets,
                malformed=segment.malformed + packed.malformed,
            ),
            counters=counters._replace(
                written=counters.written + packed.packets,
                malformed=counters.malformed + packed.malformed,
                overlap=counters.overlap + packed.overlap,
                clamped=counters.clamped + packed.clamped,
                bytes=counters.bytes + length - before,
            ),
        )

    def add(self, statistics: Statistics) -> State:
        """With what the kernel counted, in the totals and in the segment."""
        counters, segment = self.counters, self.segment
        return self._replace(
            counters=counters._replace(
                received=counters.received + statistics.packets,
                dropped=counters.dropped + statistics.drops,
                freezes=counters.freezes + statistics.freezes,
            ),
            segment=segment._replace(dropped=segment.dropped + statistics.drops),
        )


_FIELDS = len(State()) - 3 + len(SegmentState()) * 2 + len(Counters())
_SLOT = struct.Struct(f"=2Q{_FIELDS}Q")
_STATISTICS = struct.Struct("=3I")


class StatePage:
    """The mapped page of one ring, locked for this process."""

    def __init__(self, page_fd: int, ring_fd: int, ring_cookie: int) -> None:
        try:
            fcntl.lockf(page_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RingError(
                f"cannot take over the ring: another worker has it ({error})"
            ) from error
        self._ring_fd = ring_fd
        self._page = mmap.mmap(page_fd, PAGE_SIZE)
        magic = self._page[: len(_MAGIC)]
        if magic == bytes(len(_MAGIC)):
            _SLOT.pack_into(self._page, _SLOTS[0], *_fields(State()))
            self._page[_COOKIE : _COOKIE + 8] = struct.pack("=Q", ring_cookie)
            self._page[: len(_MAGIC)] = _MAGIC
        elif magic != _MAGIC:
            raise RingError(
                "cannot take over the ring: its state page is another version's; "
                "what is in the ring is lost"
            )
        elif struct.unpack_from("=Q", self._page, _COOKIE)[0] != ring_cookie:
            raise RingError("cannot take over the ring: the state page belongs to another one")
        (self._in_force,) = struct.unpack_from("=Q", self._page, _IN_FORCE)
        self._newest = max(range(len(_SLOTS)), key=self._generation)
        self.state = self.load()  # what is put in here is in force with the next commit

    def load(self) -> State:
        """The state in force, with every count that the kernel has given away.

        What a killed worker had prepared but not published counts for nothing except for
        the kernel's counters in it.
        """
        state, counted = self._read(self._in_force).counters, self._read(self._newest).counters
        return self._read(self._in_force).add(
            Statistics(
                counted.received - state.received,
                counted.dropped - state.dropped,
                counted.freezes - state.freezes,
            )
        )

    def committed_at(self) -> int:
        """When the state in force was committed, CLOCK_MONOTONIC in ns."""
        (moment,) = struct.unpack_from("=Q", self._page, _SLOTS[self._in_force] + 8)
        return int(moment)

    def commit(self, state: State) -> State:
        """Put `state` in force; gives it back with what the kernel counted meanwhile."""
        number = ({0, 1, 2} - {self._in_force, self._newest}).pop()
        generation = self._generation(self._newest) + 1
        slot = _SLOTS[number]
        counted = slot + _SLOT.size
        _pack.publish(self._page, slot, 0)
        _SLOT.pack_into(self._page, slot, *_fields(state))
        _STATISTICS.pack_into(self._page, counted, 0, 0, 0)
        _pack.publish(self._page, slot, generation)
        _pack.statistics(self._ring_fd, self._page, counted)
        _pack.publish(self._page, _IN_FORCE, number)
        self._in_force = self._newest = number
        self.state = state.add(Statistics(*_STATISTICS.unpack_from(self._page, counted)))
        return self.state

    def _generation(self, number: int) -> int:
        (generation,) = struct.unpack_from("=Q", self._page, _SLOTS[number])
        return int(generation)

    def _read(self, number: int) -> State:
        slot = _SLOTS[number]
        _, _, block, *fields = _SLOT.unpack_from(self._page, slot)
        size, end = len(SegmentState()), len(SegmentState()) * 2 + len(Counters())
        state = State(
            block,
            SegmentState(*fields[:size]),
            SegmentState(*fields[size : 2 * size]),
            Counters(*fields[2 * size : end]),
            *fields[end:],
        )
        return state.add(Statistics(*_STATISTICS.unpack_from(self._page, slot + _SLOT.size)))


def _fields(state: State) -> tuple[int, ...]:
    """A slot's, with a generation that nothing reads yet, and the time."""
    block, segment, closing, counters, *rest = state
    return (0, time.monotonic_ns(), block, *segment, *closing, *counters, *rest)
