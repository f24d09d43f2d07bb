"""Traffic on one interface: numbered frames at a moderate rate with bursts, and what of it is owed.

The interface may go down, vanish and come back meanwhile.  A sender knows, to the frame, what it
had sent before, and what since the interface is captured again.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from tests.soaking.accounts import Run
from tests.support.frames import Stream
from tests.support.xdp import FrameSource

STEP = 0.005
BURST_EVERY, BURST = 3.0, 4000  # seconds, frames


class Sender:
    """Frames of `stream`; `run` until `end`."""

    def __init__(self, namespace: str, stream: Stream, index: int, rate: int) -> None:
        self.stream = stream
        self._namespace = namespace
        self._rate = rate
        self._source: FrameSource | None = FrameSource(stream, index, namespace)
        self._next = stream.first
        self._lock = threading.Lock()  # while it is held no frame is on its way
        self._over = threading.Event()
        self._doubt: int | None = None
        self._times: deque[tuple[float, int]] = deque([(time.monotonic(), stream.first)], 4000)

    def run(self) -> None:
        """Send."""
        due, at = 0.0, time.monotonic()
        burst = at + BURST_EVERY
        while not self._over.wait(STEP):
            now = time.monotonic()
            due, at = min(due + (now - at) * self._rate, self._rate), now
            if now > burst:
                due, burst = due + BURST, now + BURST_EVERY
            with self._lock:
                due -= self._inject(int(due))
                if now - self._times[-1][0] > 0.25:
                    self._times.append((now, self._next))

    def end(self) -> None:
        """No more."""
        self._over.set()

    @property
    def next(self) -> int:
        """The number of the frame that comes next: all before it were received by the kernel."""
        with self._lock:
            return self._next

    def sent_at(self, number: int) -> float:
        """When a frame was sent, roughly."""
        with self._lock:
            return next((at for at, after in self._times if after > number), time.monotonic())

    def sent_before(self, moment: float) -> int:
        """The number of the first frame that was not sent by then."""
        with self._lock:
            return max(number for at, number in self._times if at <= max(moment, self._times[0][0]))

    def doubt(self) -> None:
        """What comes now may be lost: the interface is about to go."""
        with self._lock:
            self._doubt = self._next

    def trust(self) -> Run:
        """From now on all is owed again; the frames that were not."""
        with self._lock:
            assert self._doubt is not None
            doubtful, self._doubt = (self._doubt, self._next), None
            return doubtful

    def move(self, index: int) -> None:
        """There is another interface."""
        with self._lock:
            self._close()
            after = Stream(self.stream.shape, self.stream.tags, self._next)
            self._source = FrameSource(after, index, self._namespace)

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _inject(self, count: int) -> int:
        if self._source is None or not count:
            return 0
        before = self._source.sent
        try:
            self._source.inject(count)
        except OSError:  # the interface is gone, which must have been announced
            if self._doubt is None:
                raise
            self._close_after()
            return 0
        done = self._source.sent - before
        self._next += done
        return done

    def _close_after(self) -> None:
        source, self._source = self._source, None
        assert source is not None
        self._next = source.stream.first + source.sent
        source.close()
