"""From ring blocks to segments: what is written, committed, rotated, and what to do when
the disk refuses.

Order per block: write, commit to the state page, release.  A block that the disk does
not take stays in the ring and is tried again; only when the ring is nearly full is the
oldest given up and counted as `disk`.  So a full disk that is emptied in time costs
nothing, and one that is not costs an exact number of packets.
"""

from __future__ import annotations

import errno
import time
from typing import Protocol

from capd import pcapng
from capd.capture.blocks import Blocks
from capd.capture.keeper import Keeper, closing_statistics
from capd.capture.outcomes import Closed, Left, Spare, Trouble
from capd.capture.staging import Packed, Staging
from capd.capture.state import SegmentState, State, StatePage
from capd.events import Kind
from capd.messages import Plan
from capd.units import SECOND, format_count, format_duration

RETRY = SECOND // 100  # ns until a refused write is tried again
WORTH_TELLING = SECOND // 2  # ns of refusal that heal without loss and without a word
STEADY = SECOND  # ns without refusal after which the disk is believed again
GIVE_UP = 3 / 4  # share of the ring that waits before blocks are given up
CLOSING = 1024  # bytes that a segment's last block may need
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Tell(Protocol):
    """Says something that a person should read, with facts for programs."""

    def __call__(self, kind: Kind, text: str, **facts: int) -> None: ...


class Writer:
    """Feeds one ring's blocks to its segments; owns the state and the current file."""

    def __init__(self, plan: Plan, blocks: Blocks, page: StatePage, keeper: Keeper, tell: Tell):
        self.state = page.load()
        self._committed_before = page.committed_at()
        self.seq: int | None = None  # the current segment; None while there is none
        self._plan = plan
        self._blocks = blocks
        self._page = page
        self._keeper = keeper
        self._tell = tell
        self._header = pcapng.header(plan.source)
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
        self._refused_since = 0  # monotonic ns; 0 while the disk takes everything
        self._accepted_since = 0  # the same, while it took everything after a refusal
        self._refusal_told = False
        self._retry_at = 0
        self._lost_before = 0
        self._most_waiting = int(plan.geometry.blocks * GIVE_UP)

    @property
    def holding(self) -> bool:
        """Whether the next block has to wait for the disk."""
        return time.monotonic_ns() < self._retry_at

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
        before, noting = self._staging.length, self._note_losses()
        source = self._plan.source
        packed = self._staging.pack(
            blocks, source.snaplen, record_direction=source.record_direction
        )
        try:
            self._staging.write(self._fd)
        except OSError as error:
            self._staging.forget()
            self._refuse(error.strerror or str(error))
            if error.errno not in NO_SPACE and self.state.segment.written:
                self._switch()  # another file may fare better
            return
        length = self._staging.length
        self.state = self._page.commit(_with_block(state, number, packed, before, length))
        self._staging.keep()
        blocks.release()
        self._keeper.advance(length)
        if self._pause_since:
            pause = (time.monotonic_ns() - self._pause_since) // 10**6 * 10**6
            text = f"goes on at block {number} after a pause of {format_duration(pause)}"
            self._tell(Kind.WENT_ON, text, block=number, pause_ms=pause // 10**6)
            self._pause_since = 0
        if noting:
            self._noted, self._noted_at = noting, time.monotonic_ns()
        if self._refused_since and not self._accepted_since:
            self._accepted_since = time.monotonic_ns()

    def tend(self) -> None:
        """What is to be done between blocks: the keeper's news, rotation by time."""
        for outcome in self._keeper.collect():
            if isinstance(outcome, Spare) and self._ending:
                self._keeper.discard(outcome)
            elif isinstance(outcome, Spare):
                self._spare = outcome
            elif isinstance(outcome, Left):
                self._take_up(outcome)
            elif isinstance(outcome, Closed):
                self._note_closed(outcome)
            elif isinstance(outcome, Trouble):
                self._tell(outcome.kind, outcome.text)
                self._renew |= outcome.renew
        if self._accepted_since and time.monotonic_ns() - self._accepted_since > STEADY:
            self._resume()
        if self.seq is None or self._is_due(0):
            self._switch()

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
        if lost and self._lost_before == self.state.counters.disk - lost:
            self._tell(
                Kind.DISK_LOSES,
                "the ring is nearly full: packets are lost until the disk takes more",
            )

    def close(self) -> None:
        """Hand the last segment to the keeper, and let the unused file go."""
        self._ending = True
        if self._accepted_since:
            self._resume()
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
        self.state = self._page.commit(self.state._replace(segment=segment, closing=closing))
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
        now = time.monotonic_ns()
        self._retry_at, self._accepted_since = now + RETRY, 0
        if not self._refused_since:
            self._refused_since = now
            self._lost_before = self.state.counters.disk
        if now - self._refused_since <= WORTH_TELLING:
            return
        if not self._refusal_told:
            self._refusal_told = True
            self._tell(
                Kind.DISK_REFUSES, f"cannot write: {reason}; packets wait in the ring meanwhile"
            )
        self.give_up(self._most_waiting)

    def _resume(self) -> None:
        took = (self._accepted_since - self._refused_since) // 10**6 * 10**6
        lost = self.state.counters.disk - self._lost_before
        if lost or self._refusal_told:
            what = f"{format_count(lost)} packets lost to the disk"
            self._tell(
                Kind.DISK_RECOVERED,
                f"writes again after {format_duration(took)}; {what}",
                packets=lost,
            )
        self._refused_since = self._accepted_since = 0
        self._refusal_told = False


def _with_block(state: State, number: int, packed: Packed, before: int, length: int) -> State:
    segment, counters = state.segment, state.counters
    return state._replace(
        block=number,
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
            clamped=counters.clamped + packed.clamped,
            bytes=counters.bytes + length - before,
        ),
    )
