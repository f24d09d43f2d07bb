"""A ring whose kernel is the test, and the workers that drain it one after the other.

The ring's memory, the state page and all that a worker does with them are the real ones; what
is not here is the loop around it, and the socket, of which only the counters are asked.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterable, Sequence
from functools import partial

from capd import pcapng
from capd.capture.blocks import Blocks
from capd.capture.folder import Folder
from capd.capture.keeper import Keeper
from capd.capture.state import State, StatePage
from capd.capture.writer import Writer
from capd.events import Kind
from capd.messages import Plan, Source, Start
from capd.ring import Geometry
from capd.units import SECOND
from tests.modelling.dying import Death, run
from tests.support import twin
from tests.support.frames import Shape, Stream

RING = "v0"
SOURCE = Source(RING, RING, 1, None, "", 0, 262144, "host", record_direction=False)
SHAPE = Geometry(block_size=256 * 1024, blocks=8, retire_ms=20)
ROTATE_SIZE = 300 * 1024
STREAM = Stream(Shape("odd", (60, 61, 590, 1400)))
MOST = 200  # packets of one block, which fit
_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3 = 263, 10, 2
_NEVER = 10**6 * SECOND  # the clock is that of the packets: no rotation by the machine's
_STATUS_AT, _NUMBER_AT = 8, 24
_COOKIE = 1


class Ring:
    """One ring's memory and state page; they end with the daemon, or at a power cut."""

    def __init__(self, directory: str) -> None:
        self.plan = Plan(SOURCE, SHAPE, directory, ROTATE_SIZE, 1000 * _NEVER, _NEVER)
        self.waiting: dict[int, dict[int, int]] = {}  # by block: stamps by number of the packet
        self._ring, self._page = os.memfd_create("ring"), os.memfd_create("state")
        os.ftruncate(self._ring, SHAPE.size)
        os.ftruncate(self._page, 4096)
        self._memory = mmap.mmap(self._ring, SHAPE.size)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        self._number = 1  # of the block that the kernel fills
        self._open_next()

    def close(self) -> None:
        """It is gone, with all that waits in it."""
        self._memory.close()
        self._socket.close()
        os.close(self._ring)
        os.close(self._page)

    @property
    def has_room(self) -> bool:
        """Whether the kernel has a block to fill."""
        at = self._at(self._number)
        return not struct.unpack_from("=I", self._memory, at + _STATUS_AT)[0]

    def fill(self, packets: dict[int, int]) -> None:
        """The kernel hands over a block of these packets: stamps by number."""
        at, number = self._at(self._number), self._number
        made = twin.block([_packet(*one) for one in packets.items()], SHAPE.block_size)
        assert len(made) == SHAPE.block_size
        self._memory[at : at + len(made)] = made
        struct.pack_into("=Q", self._memory, at + _NUMBER_AT, number)
        self.waiting[number] = packets
        self._number += 1
        self._open_next()

    def work(self, steps: Sequence[str], death: Death) -> bool:
        """A worker does all this; whether it lived to the end.  What is committed waits no more."""
        return run(partial(self._be_worker, steps), death)

    def committed(self) -> dict[int, int]:
        """The packets that segments have since this was asked last."""
        blocks = [number for number in self.waiting if number <= self.state.block]
        return {n: stamp for block in blocks for n, stamp in self.waiting.pop(block).items()}

    @property
    def state(self) -> State:
        """How far the workers came."""
        page = os.dup(self._page)
        try:
            return StatePage(page, self._socket.fileno(), _COOKIE).state
        finally:
            os.close(page)  # and the lock goes

    def _at(self, number: int) -> int:
        return (number - 1) % SHAPE.blocks * SHAPE.block_size

    def _open_next(self) -> None:
        if self.has_room:
            struct.pack_into("=Q", self._memory, self._at(self._number) + _NUMBER_AT, self._number)

    def _be_worker(self, steps: Iterable[str]) -> None:
        _Worker(Start(self.plan, self._ring, self._page, 0), self._socket.fileno()).do(steps)


class _Worker:
    """What a worker's loop does, step by step; its keeper works only when it is let."""

    def __init__(self, start: Start, ring: int) -> None:
        plan = start.plan
        self._blocks = Blocks(start.ring_fd, plan.geometry)
        page = StatePage(start.state_fd, ring, _COOKIE)
        folder = partial(Folder, plan.directory, plan.source.ring)
        self._keeper = Keeper(folder, pcapng.header(plan.source), plan.sync_interval)
        self._writer = Writer(start, self._blocks, page, self._keeper, _complain)
        self._blocks.locate(self._writer.state.block)
        self._go, self._idle = threading.Semaphore(0), threading.Semaphore(0)
        self._keeper._tasks.put(self._pause)
        self._keeper.start()
        self._idle.acquire()
        self._keeper.begin(self._writer.state)

    def do(self, steps: Iterable[str]) -> None:
        """Each of: take a block, renew the segment, let the keeper work, both, sync, finish."""
        for step in steps:
            self._writer.tend()
            if step == "take":
                self._take()
            elif step in ("renew", "rotate"):
                self._writer._segments.renew()
            elif step == "sync":
                self._keeper._tasks.put(self._keeper._sync)
            elif step == "finish":
                self._finish()
            if step in ("keep", "rotate", "sync"):
                self._let_keeper_work()
        self._writer.tend()

    def _take(self) -> None:
        if not self._blocks.ready:
            return
        while self._writer._segments.seq is None:  # until then the ring holds it
            self._let_keeper_work()
            self._writer.tend()
        self._writer.take_block()

    def _finish(self) -> None:
        while self._blocks.ready:
            self._take()
        self._writer.close()
        while self._keeper.is_alive():
            self._go.release()
            self._keeper.join(0.01)
        self._writer.tend()

    def _let_keeper_work(self) -> None:
        while True:
            self._keeper._tasks.put(self._pause)
            self._go.release()
            self._idle.acquire()
            if self._keeper._tasks.empty():
                return

    def _pause(self) -> bool:
        self._idle.release()
        self._go.acquire()
        return True


def _complain(kind: Kind, text: str, **facts: int) -> None:
    if kind not in (Kind.WENT_ON, Kind.NOT_DIRECT):
        raise AssertionError(f"{kind.name}: {text}")


def _packet(number: int, stamp: int) -> twin.Packet:
    seconds, nanoseconds = divmod(stamp, SECOND)
    return twin.Packet(STREAM.expected(number), seconds, nanoseconds)
