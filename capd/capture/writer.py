"""From ring blocks to segments: which packets are written, and what if the disk refuses.

Order per block: write, commit to the state page, release.  A block that the disk does
not take stays in the ring and is tried again; only when the ring is nearly full is the
oldest given up and counted as `disk`.  So a full disk that is emptied in time costs
nothing, and one that is not costs an exact number of packets.
"""

from __future__ import annotations

import time

from capd.capture import window
from capd.capture.blocks import Blocks
from capd.capture.keeper import Keeper
from capd.capture.meter import Meter
from capd.capture.outcomes import Trouble
from capd.capture.refusal import Refusal, Tell
from capd.capture.segments import Segments
from capd.capture.staging import Packed
from capd.capture.state import State, StatePage
from capd.errors import NO_ROOM
from capd.events import Kind
from capd.messages import Plan, Start

GIVE_UP = 3 / 4  # share of the ring that waits before blocks are given up


class Writer:
    """Feeds one ring's blocks to its segments."""

    def __init__(
        self, start: Start, blocks: Blocks, page: StatePage, keeper: Keeper, tell: Tell
    ) -> None:
        self._page = page
        self._blocks = blocks
        self._keeper = keeper
        self.meter = Meter(blocks)
        self._tell = tell
        self._since = start.since
        self._source = start.plan.source
        self._segments = Segments(start.plan, blocks, page, keeper, tell)
        self._refusal = Refusal(tell)
        self._out_of_step = False
        self._most_waiting = int(blocks.count * GIVE_UP)

    @property
    def state(self) -> State:
        """How far the ring has come."""
        return self._page.state

    @property
    def segment(self) -> int | None:
        """The number of the current segment, or of one left to be gone on with; None: no file."""
        return self._segments.current

    @property
    def holding(self) -> bool:
        """Whether the next block has to wait: for the disk, or for the file it belongs to."""
        return self._refusal.holding or self._segments.waiting

    @property
    def refused(self) -> bool:
        """Whether the disk takes nothing."""
        return self._refusal.refuses

    @property
    def full(self) -> bool:
        """Whether the disk has no room, be it for what is written or for another file."""
        return self._refusal.full or self._keeper.full

    @property
    def refusal(self) -> str:
        """Why it took nothing when it last did; "": it always took everything."""
        return self._refusal.reason

    @property
    def is_complete(self) -> bool:
        """Whether all that is stamped before the cut has come."""
        return window.passed(self.state.until, time.time_ns())

    @property
    def is_settled(self) -> bool:
        """Whether no segment but the current one is still to be gone on with, or closed."""
        return self._segments.begun and not self.state.closing.seq

    def take_block(self) -> None:
        """Bring the ring's head block into the current segment, and release it."""
        blocks, segments = self._blocks, self._segments
        if segments.is_due(blocks.length):
            segments.switch()
        if segments.seq is None:
            self._refuse("there is no file to write to", full=False)
            return
        number = blocks.number
        if number != self.state.block + 1 and not self._out_of_step:
            self._out_of_step = True
            text = f"block {number} of the ring follows block {self.state.block}: a bug"
            self._tell(Kind.BUG, text)
        before, noting = segments.staging.length, segments.note_losses()
        packed = self._pack(number)
        if segments.keep_out(number, packed.last):
            segments.staging.forget()
            return
        try:
            if segments.staging.length > before:
                with self.meter.writing():
                    segments.staging.write(segments.fd)
        except OSError as error:
            segments.staging.forget()
            self._refuse(error.strerror or str(error), full=error.errno in NO_ROOM)
            if error.errno not in NO_ROOM and self.state.segment.written:
                segments.switch()  # another file may fare better
            return
        length = segments.staging.length
        self._page.commit(self.state.with_block(number, packed, before, length))
        blocks.release()
        segments.advance(number, noting)
        self._refusal.accepted()

    def tend(self) -> None:
        """What is to be done between blocks: the keeper's news, rotation by time."""
        without = self._segments.seq is None
        for outcome in self._keeper.collect():
            if isinstance(outcome, Trouble):
                self._tell(outcome.kind, outcome.text)
                if outcome.renew:
                    self._segments.renew()
            else:
                self._segments.note(outcome)
        self._refusal.tend(self.state.counters.disk)
        if self._since and not self.state.shared and window.passed(self._since, time.time_ns()):
            self._page.state = self.state._replace(shared=self._blocks.newest)
        if self._segments.seq is None or self._segments.is_due(0):
            self._segments.switch()
        if without and self._segments.seq is not None:
            self._refusal.retry()

    def adjust(self, plan: Plan) -> None:
        """Go on under this plan; the ring has its filter already."""
        self._source = plan.source
        self._segments.adjust(plan)

    def cut(self, wanted: int) -> None:
        """Write nothing that is stamped from then on: another ring has it.  0: none has."""
        until = window.cut(self.state, wanted, time.time_ns())
        if until != self.state.until:
            self._page.commit(self.state._replace(until=until))

    def miss(self, packets: int) -> None:
        """So many more never came to the ring, because the NIC had no room for them."""
        state, segment = self.state, self.state.segment
        self._page.commit(state._replace(segment=segment._replace(missed=segment.missed + packets)))

    def count(self) -> None:
        """Take the kernel's counters without a block."""
        self._page.commit(self.state)

    def give_up(self, most_waiting: int) -> None:
        """Count the oldest blocks as lost to the disk until no more than this many wait.

        Packets in them that another ring has are counted as lost too: nobody looks at them.
        """
        lost = 0
        for _ in range(self._blocks.waiting() - most_waiting):
            packets = min(self._blocks.packets, self._blocks.size // 64)
            lost += packets
            length = self._blocks.length
            state, segment = self.state, self.state.segment
            self._page.commit(
                state._replace(
                    block=self._blocks.number,
                    segment=segment._replace(disk=segment.disk + packets),
                    counters=state.counters._replace(
                        disk=state.counters.disk + packets,
                        refused=state.counters.refused + length,
                    ),
                )
            )
            self._blocks.release()
        if lost:
            self._refusal.given_up()

    def close(self) -> None:
        """Hand the last segment to the keeper."""
        self._refusal.tend(self.state.counters.disk, last=True)
        self._segments.close()

    def _pack(self, number: int) -> Packed:
        since, until = window.bounds(self.state, self._since, number)
        return self._segments.staging.pack(self._blocks, self._source, since, until)

    def _refuse(self, reason: str, *, full: bool) -> None:
        if self._refusal.refused(reason, self.state.counters.disk, full=full):
            self.give_up(self._most_waiting)
