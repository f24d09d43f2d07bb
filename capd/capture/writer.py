"""From ring blocks to segments: what is written, committed, rotated, and what to do when
the disk refuses.

Order per block: write, commit to the state page, release.  A block that the disk does
not take stays in the ring and is tried again; only when the ring is nearly full is the
oldest given up and counted as `disk`.  So a full disk that is emptied in time costs
nothing, and one that is not costs an exact number of packets.

A segment has one header, and it says which filter was in force.  Under another one the
segment ends at the first block that can hold packets of the new filter (an *epoch*).
"""

from __future__ import annotations

import errno
import time

from capd import pcapng
from capd.capture.blocks import Blocks
from capd.capture.keeper import Keeper, closing_statistics
from capd.capture.outcomes import Closed, Left, Spare, Trouble
from capd.capture.refusal import Refusal, Tell
from capd.capture.staging import Staging
from capd.capture.state import NEVER, SegmentState, StatePage
from capd.events import Kind
from capd.messages import Plan
from capd.pcapng import fingerprint
from capd.units import SECOND, format_duration

EPOCH_RETRY = SECOND // 500  # ns until the file of a new epoch is asked for again
GIVE_UP = 3 / 4  # share of the ring that waits before blocks are given up
CLOSING = 1024  # bytes that a segment's last block may need
EPOCH_PATIENCE = SECOND  # ns that blocks of a new epoch wait for its file
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Writer:
    """Feeds one ring's blocks to its segments; owns the state and the current file."""

    def __init__(  # noqa: PLR0913, PLR0917  it is put together in one place
        self,
        plan: Plan,
        since: int,
        blocks: Blocks,
        page: StatePage,
        keeper: Keeper,
        tell: Tell,
    ) -> None:
        """Packets stamped before `since` (ns since 1970) are another ring's."""
        self.state = page.load()
        self._committed_before = page.committed_at()
        self.seq: int | None = None  # the current segment; None while there is none
        self._plan = plan
        self._blocks = blocks
        self._page = page
        self._keeper = keeper
        self._tell = tell
        self._refusal = Refusal(tell)
        self._since = since
        self._header = pcapng.header(plan.source)
        self._fingerprint = fingerprint(self._header)
        self._epoch_block = 0  # number of the first block that may need the new header
        self._epoch_due = 0  # when it first had to wait for it, monotonic ns
        self._staging = Staging(plan.geometry.block_size)
        self._fd = -1
        self._spare: Spare | None = None
        self._renew = False
        self._period = 0  # the rotation interval in which the segment began
        self._noted = 0  # loss that the segment tells of already, and when it did
        self._noted_at = 0
        self._out_of_step = False
        self._pause_since = 0  # when the worker before committed last
        self._ending = False
        self._most_waiting = int(plan.geometry.blocks * GIVE_UP)

    @property
    def holding(self) -> bool:
        """Whether the next block has to wait for the disk."""
        return self._refusal.holding

    def take_block(self) -> None:
        """Bring the ring's head block into the current segment, and release it."""
        blocks, state = self._blocks, self.state
        if self._is_due(blocks.length):
            self._switch()
            state = self.state
        if self.seq is None:
            self._refuse("there is no file to write to")
            return
        number = blocks.number
        if number != state.block + 1 and not self._out_of_step:
            self._out_of_step = True
            self._tell(Kind.BUG, f"block {number} of the ring follows block {state.block}: a bug")
        if not self._is_in_epoch(number):
            return
        before, noting = self._staging.length, self._note_losses()
        until = self.state.until or NEVER
        packed = self._staging.pack(blocks, self._plan.source, self._since, until)
        try:
            self._staging.write(self._fd)
        except OSError as error:
            self._staging.forget()
            self._refuse(error.strerror or str(error))
            if error.errno not in NO_SPACE and self.state.segment.written:
                self._switch()  # another file may fare better
            return
        length = self._staging.length
        self.state = self._page.commit(state.with_block(number, packed, before, length))
        self._staging.keep()
        blocks.release()
        self._keeper.advance(length)
        if self._pause_since:
            self._tell_pause(number)
        if noting:
            self._noted, self._noted_at = noting, time.monotonic_ns()
        self._refusal.accepted()

    def _tell_pause(self, number: int) -> None:
        pause = (time.monotonic_ns() - self._pause_since) // 10**6 * 10**6
        text = f"goes on at block {number} after a pause of {format_duration(pause)}"
        self._tell(Kind.WENT_ON, text, block=number, pause_ms=pause // 10**6)
        self._pause_since = 0

    def tend(self) -> None:
        """What is to be done between blocks: the keeper's news, rotation by time."""
        for outcome in self._keeper.collect():
            if isinstance(outcome, Spare):
                self._take_spare(outcome)
            elif isinstance(outcome, Left):
                self._take_up(outcome)
            elif isinstance(outcome, Closed):
                self._note_closed(outcome)
            elif isinstance(outcome, Trouble):
                self._tell(outcome.kind, outcome.text)
                self._renew |= outcome.renew
        self._refusal.tend(self.state.counters.disk)
        if self.seq is None or self._is_due(0):
            self._switch()

    def adjust(self, plan: Plan) -> None:
        """Go on under this plan, whose filter is on the socket already."""
        before, self._plan = self._plan, plan
        self._header = pcapng.header(plan.source)
        self._fingerprint = fingerprint(self._header)
        self._epoch_block = self.state.block + 1 + self._blocks.waiting()
        self._epoch_due = 0
        self._keeper.adjust(self._header, plan.sync_interval)
        if plan.rotate_interval != before.rotate_interval and self.state.segment.written:
            self._period = self.state.segment.first // plan.rotate_interval
        if self._spare is not None:
            self._take_spare(self._spare)

    def cut(self, until: int) -> int:
        """Leave packets stamped from `until` on to another ring; gives the instant in force.

        It is a later one if packets stamped so late are written already; and the worker that
        comes after this one is told it by the state page.
        """
        if not self.state.until:
            moment = max(until, self.state.latest + 1)
            self.state = self._page.commit(self.state._replace(until=moment))
        return self.state.until

    def count(self) -> None:
        """Take the kernel's counters without a block."""
        self.state = self._page.commit(self.state)

    def give_up(self, most_waiting: int) -> None:
        """Count the oldest blocks as lost to the disk until no more than this many wait."""
        lost = 0
        for _ in range(self._blocks.waiting() - most_waiting):
            packets = min(self._blocks.packets, self._blocks.size // 64)
            lost += packets
            state, segment = self.state, self.state.segment
            self.state = self._page.commit(
                state._replace(
                    block=self._blocks.number,
                    segment=segment._replace(disk=segment.disk + packets),
                    counters=state.counters._replace(disk=state.counters.disk + packets),
                )
            )
            self._blocks.release()
        if lost:
            self._refusal.given_up()

    def close(self) -> None:
        """Hand the last segment to the keeper, and let the unused file go."""
        self._ending = True
        self._refusal.tend(self.state.counters.disk, last=True)
        if self._spare is not None:
            self._keeper.discard(self._spare)
            self._spare = None
        if self.seq is not None:
            self.state = self._page.commit(
                self.state._replace(segment=SegmentState(), closing=self.state.segment)
            )
            self._keeper.finish(self._fd, self.state.closing, self._staging.tail)
            self.seq = None
        self._keeper.stop()

    def _note_closed(self, closed: Closed) -> None:
        counters, closing = self.state.counters, self.state.closing
        if closed.path is not None:
            counters = counters._replace(files=counters.files + 1)
        if closed.segment.seq == closing.seq:
            closing = SegmentState()
        self.state = self.state._replace(counters=counters, closing=closing)

    def _take_spare(self, spare: Spare) -> None:
        """Keep it for the next segment, unless there is none or its header is out of date."""
        self._spare = None
        if self._ending:
            self._keeper.discard(spare)
        elif spare.header != self._header:
            self._keeper.discard(spare)
            self._keeper.prepare(spare.seq + 1)
        else:
            self._spare = spare

    def _is_in_epoch(self, number: int) -> bool:
        """Whether the segment has the right header for a block; False: the block has to wait."""
        if self.state.header == self._fingerprint or number < self._epoch_block:
            return True
        if self.state.segment.written:
            self._switch()
        else:
            self._rewrite_header()
        if self.state.header == self._fingerprint:
            self._epoch_due = 0
            return True
        now = time.monotonic_ns()
        self._epoch_due = self._epoch_due or now
        crowded = self._blocks.waiting() > self._blocks.count // 2
        if crowded or now - self._epoch_due > EPOCH_PATIENCE:
            return True  # in the segment before, then: a header is not worth a packet
        self._refusal.hold(EPOCH_RETRY)
        return False

    def _rewrite_header(self) -> None:
        """Nothing but a header is in the segment: put the one in force in its place."""
        self._staging.restart(b"", 0)
        self._staging.append(self._header)
        try:
            self._staging.write(self._fd)
        except OSError as error:
            self._staging.restart(b"", 0)
            self._refuse(error.strerror or str(error))
            return
        segment = self.state.segment._replace(length=len(self._header))
        self.state = self._page.commit(
            self.state._replace(segment=segment, header=self._fingerprint)
        )
        self._staging.keep()

    def _take_up(self, left: Left) -> None:
        """Go on with the segment of the worker before."""
        segment = self.state.segment
        try:
            self._staging.resume(left.fd, segment.length)
        except OSError as error:
            text = f"cannot go on with segment {left.seq}: {error.strerror}; it stays a .part file"
            self._tell(Kind.FILE_TROUBLE, text)
            return
        self.seq, self._fd = left
        self._period = segment.first // self._plan.rotate_interval
        self._keeper.watch(left)
        self._keeper.advance(segment.length)
        self._pause_since = self._committed_before

    def _is_due(self, incoming: int) -> bool:
        segment = self.state.segment
        if segment.written == 0:  # nothing in it: it may as well begin now
            self._renew = False
            self._period = time.time_ns() // self._plan.rotate_interval
            return False
        if self._renew or segment.length + incoming + CLOSING > self._plan.rotate_size:
            return True
        return time.time_ns() // self._plan.rotate_interval != self._period

    def _switch(self) -> None:
        """Make the spare file the current segment.

        While there is no spare, or the segment before is not closed yet, the current one
        simply goes on: a rotation is never worth a packet.
        """
        if self._spare is None or self.state.closing.seq:
            return
        spare, closing, old_fd = self._spare, self.state.segment, self._fd
        tail = self._staging.tail
        segment = SegmentState(seq=spare.seq, length=len(self._header))
        if self.seq is None:  # losses from before there was a file stand in the first
            segment = segment._replace(dropped=closing.dropped, disk=closing.disk)
            closing = SegmentState()
        self.state = self._page.commit(
            self.state._replace(segment=segment, closing=closing, header=self._fingerprint)
        )
        if closing.seq:
            self._keeper.finish(old_fd, closing, tail)
        self.seq, self._fd, self._spare = spare.seq, spare.fd, None
        self._staging.restart(b"", 0)
        self._staging.append(self._header)
        self._staging.keep()
        self._period = time.time_ns() // self._plan.rotate_interval
        self._renew = False
        self._noted = 0
        self._keeper.watch(spare)
        self._keeper.prepare(spare.seq + 1)

    def _note_losses(self) -> int:
        """Stage the counters if there are losses the file does not tell of; gives how many."""
        lost = self.state.segment.lost
        if lost == self._noted or time.monotonic_ns() - self._noted_at < SECOND:
            return 0
        self._staging.append(closing_statistics(self.state.segment))
        return lost

    def _refuse(self, reason: str) -> None:
        if self._refusal.refused(reason, self.state.counters.disk):
            self.give_up(self._most_waiting)
