"""The segments of one ring: the current one, the next one, and when the one follows the other.

It owns the current file and the buffer in front of it.  A rotation comes by size, by time,
or because segments are to have another header (`heading`); it is never worth a packet.
"""

from __future__ import annotations

import os
import time

from capd.capture.blocks import Blocks
from capd.capture.closing import closing_statistics
from capd.capture.heading import ROOM, Heading
from capd.capture.keeper import Keeper
from capd.capture.outcomes import Closed, Left, Spare
from capd.capture.refusal import Tell
from capd.capture.staging import Staging
from capd.capture.state import SegmentState, StatePage
from capd.events import Kind
from capd.messages import Plan
from capd.units import SECOND, format_duration

CLOSING = 1024  # bytes that a segment's last block may need


class Segments:
    """Where packets go."""

    def __init__(
        self, plan: Plan, blocks: Blocks, page: StatePage, keeper: Keeper, tell: Tell
    ) -> None:
        self.seq: int | None = None  # the current segment; None while there is none
        self.fd = -1
        self.begun = False  # whether what the worker before was writing has come, if it was any
        self.staging = Staging(plan.geometry.block_size)
        self._plan = plan
        self._blocks = blocks
        self._page = page
        self._keeper = keeper
        self._tell = tell
        self._heading = Heading(plan.source, 0)
        self._committed_before = page.committed_at()
        self._pause_since = 0  # when the worker before committed last
        self._spare: Spare | None = None
        self._renew = False
        self._period = 0  # the rotation interval in which the segment began
        self._noted = 0  # loss that the segment tells of already, and when it did
        self._noted_at = 0
        self._ending = False
        self._awaited = page.state.segment.seq or None  # that the worker before was writing

    @property
    def current(self) -> int | None:
        """The segment being written, or that is still to be gone on with; None: there is none."""
        return self._awaited if self.seq is None else self.seq

    @property
    def is_late(self) -> bool:
        """Whether the current segment has another header than it should."""
        return self.seq is not None and self._page.state.header != self._heading.mark

    @property
    def waiting(self) -> bool:
        """Whether the next block is worth waiting for the segment it belongs to."""
        late = self.is_late and self._heading.worth_waiting
        return late and self._blocks.waiting() <= self._blocks.count * ROOM

    def is_due(self, incoming: int) -> bool:
        """Whether the current segment should end before this many bytes are added."""
        segment = self._page.state.segment
        if segment.written == 0:  # nothing in it: it may as well begin now
            self._renew = False
            self._period = time.time_ns() // self._plan.rotate_interval
            return False
        if self._renew or segment.length + incoming + CLOSING > self._plan.rotate_size:
            return True
        if self.is_late and self._heading.reached:
            return True
        return time.time_ns() // self._plan.rotate_interval != self._period

    def switch(self) -> None:
        """Make the spare file the current segment.

        While there is no spare, or the segment before is not closed yet, the current one
        simply goes on: a rotation is never worth a packet.
        """
        page = self._page
        if self._spare is None or page.state.closing.seq:
            return
        spare, closing, old_fd = self._spare, page.state.segment, self.fd
        tail, header = self.staging.tail, self._heading.content
        segment = SegmentState(seq=spare.seq, length=len(header))
        if self.seq is None:  # losses from before there was a file stand in the first
            segment = segment._replace(
                dropped=closing.dropped, disk=closing.disk, missed=closing.missed
            )
            closing = SegmentState()
        mark = self._heading.mark
        page.commit(page.state._replace(segment=segment, closing=closing, header=mark))
        if closing.seq:
            self._keeper.finish(old_fd, closing, tail)
        self.seq, self.fd, self._spare = spare.seq, spare.fd, None
        self.staging.restart(b"", 0)
        self.staging.append(header)
        self.staging.keep()
        self._period = time.time_ns() // self._plan.rotate_interval
        self._renew = False
        self._noted = 0
        self._keeper.watch(spare.seq, spare.fd)
        self._keeper.prepare(spare.seq + 1)

    def keep_out(self, block: int, last: int) -> bool:
        """Whether a block, whose largest stamp is `last`, has to go into another segment.

        That is the current one from now on, or will be soon.
        """
        if not self.is_late or not self._heading.begins(block, last):
            return False
        self.switch()
        if not self.is_late or self.waiting:
            return True
        if not self._heading.told:
            self._heading.told = True
            text = f"segment {self.seq} goes on under a header that does not hold any more: "
            self._tell(Kind.FILE_TROUBLE, text + "the disk is late with the next file")
        return False

    def note_losses(self) -> int:
        """Stage the counters if there are losses the file does not tell of; gives how many."""
        segment = self._page.state.segment
        lost = segment.lost + segment.missed
        if lost == self._noted or time.monotonic_ns() - self._noted_at < SECOND:
            return 0
        self.staging.append(closing_statistics(segment))
        return lost

    def advance(self, block: int, noted: int) -> None:
        """What was staged is committed; `noted` is what `note_losses` gave."""
        self.staging.keep()
        self._keeper.advance(self.staging.length)
        if self._pause_since:
            self._tell_pause(block)
        if noted:
            self._noted, self._noted_at = noted, time.monotonic_ns()

    def note(self, outcome: Spare | Left | Closed) -> None:
        """What came of the keeper's work."""
        self._awaited = None  # what is left is the first that comes
        self.begun = self.begun or not isinstance(outcome, Closed)
        if isinstance(outcome, Spare):
            self._note_spare(outcome)
        elif isinstance(outcome, Left):
            self._take_up(outcome)
        else:
            self._note_closed(outcome)

    def renew(self) -> None:
        """End the current segment when the next file is there."""
        self._renew = True

    def adjust(self, plan: Plan) -> None:
        """Go on under this plan."""
        before, heading = self._plan, Heading(plan.source, self._blocks.newest)
        segment = self._page.state.segment
        self._plan = plan
        if plan.rotate_interval != before.rotate_interval and segment.written:
            self._period = segment.first // plan.rotate_interval
        self._keeper.adjust(heading.content, plan.sync_interval)
        if heading.mark == self._heading.mark:
            return
        if self._page.state.header != self._heading.mark:
            heading.replace(self._heading)
        self._heading = heading
        if self._spare is not None:
            self._note_spare(self._spare)
        if self.seq is not None and not segment.written:
            self._begin_anew(self.seq)

    def close(self) -> None:
        """Hand the last segment to the keeper, and let the unused file go."""
        self._ending = True
        if self._spare is not None:
            self._note_spare(self._spare)
        state = self._page.state
        if self.seq is not None and state.until and not state.segment.written + state.segment.lost:
            self._keeper.drop(self.seq, self.fd)  # all that came was another ring's
        elif self.seq is not None:
            if not state.closing.seq:  # else that one would seem to be nobody's
                self._page.commit(state._replace(segment=SegmentState(), closing=state.segment))
            self._keeper.finish(self.fd, state.segment, self.staging.tail)
        self.seq = None
        self._keeper.stop()

    def _note_spare(self, spare: Spare) -> None:
        self._spare = None
        if self._ending:
            self._keeper.discard(spare.seq, spare.fd)
        elif spare.header != self._heading.content:
            self._keeper.drop(spare.seq, spare.fd)
            self._keeper.prepare(spare.seq)
        else:
            self._spare = spare

    def _note_closed(self, closed: Closed) -> None:
        state = self._page.state
        counters, closing = state.counters, state.closing
        if closed.path is not None:
            counters = counters._replace(files=counters.files + 1)
        if closed.segment.seq == closing.seq:
            closing = SegmentState()
        self._page.state = state._replace(counters=counters, closing=closing)

    def _take_up(self, left: Left) -> None:
        """Go on with the segment of the worker before."""
        segment = self._page.state.segment
        self._pause_since = self._committed_before
        if not segment.written:
            self.seq, self.fd = left
            self._begin_anew(left.seq)
            return
        try:
            self.staging.resume(left.fd, segment.length)
        except OSError as error:
            text = f"cannot go on with segment {left.seq}: {error.strerror}; it stays a .part file"
            self._tell(Kind.FILE_TROUBLE, text)
            return
        self.seq, self.fd = left
        self._period = segment.first // self._plan.rotate_interval
        self._keeper.watch(*left)
        self._keeper.advance(segment.length)

    def _begin_anew(self, seq: int) -> None:
        """Give the current segment, in which there is no packet, the header that holds now."""
        self.staging.restart(b"", 0)
        self.staging.append(self._heading.content)
        try:
            self.staging.write(self.fd)
            os.ftruncate(self.fd, self.staging.length)
        except OSError:  # the next file may fare better
            self._keeper.drop(seq, self.fd)
            self.seq = None
            return
        state = self._page.state
        segment = state.segment._replace(length=self.staging.length)
        self._page.commit(state._replace(segment=segment, header=self._heading.mark))
        self.staging.keep()
        self._noted = 0
        self._keeper.watch(seq, self.fd)

    def _tell_pause(self, block: int) -> None:
        pause = (time.monotonic_ns() - self._pause_since) // 10**6
        text = f"goes on at block {block} after a pause of {format_duration(pause * 10**6)}"
        self._tell(Kind.WENT_ON, text, block=block, pause_ms=pause)
        self._pause_since = 0
