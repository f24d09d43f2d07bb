"""The frame source: the kernel receives a stream's frames, a million and more a second.

BPF_PROG_TEST_RUN with live frames hands pages to an XDP program as if an interface had
received them; XDP_PASS sends them up the stack, past every packet socket.  The program
numbers, trims and writes each frame.  The kernel recycles pages without restoring them
(and moves the addresses when it strips a tag), so the program writes every byte that
varies or may have been moved; the payload behind the number is never touched.

The interface's own counters do not see these frames, and it takes them even when down.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support import bpf
from tests.support.bpf import R0, R1, R2, R3, R6, R7, R8, R9
from tests.support.frames import (
    FIRST_SOURCE_PORT,
    FLOWS,
    IPV4_SIZE,
    NUMBER_SIZE,
    UDP_SIZE,
    Stream,
)
from tests.support.net import apart, inside

_LOOPBACK = 1
_PACED_STEP = 0.001

_CONTEXT_DATA, _CONTEXT_DATA_END = 0, 4

# One entry for each length of a shape: the length less that of the longest frame (4 bytes)
# and the fields that follow from it, in network order: IPv4 total length, IPv4 checksum,
# UDP length (2 bytes each), and 6 bytes unused.
_ENTRY_SIZE = 16
_TOTAL_LENGTH, _CHECKSUM, _UDP_LENGTH = 4, 6, 8


class FrameSource:
    """Injects `stream` into the receive path of the interface with this index.

    `namespace` names the network namespace of the interface (default: the caller's).
    Owns a BPF program and two maps until it is closed.  One thread at a time may inject;
    any thread may read `sent`.
    """

    def __init__(self, stream: Stream, interface_index: int, namespace: str | None = None) -> None:
        self.stream = stream
        self._interface_index = interface_index
        self._namespace = namespace
        self._template = max(map(stream.expected, range(stream.period)), key=len)
        self._descriptors: list[int] = []
        try:
            counter = self._own(bpf.create_value(8))
            self._next = mmap.mmap(counter, mmap.PAGESIZE)
            self._next[:8] = struct.pack("<Q", stream.first)
            entries = _entries(stream)
            table = self._own(bpf.create_value(len(entries)))
            bpf.set_value(table, entries)
            self._program = self._own(bpf.load_xdp(_program(stream, counter, table)))
            self._keep_ready()
        except BaseException:
            self.close()
            raise

    @property
    def sent(self) -> int:
        """How many frames the kernel has received so far; readable after `close` as well."""
        following: int = struct.unpack_from("<Q", self._next)[0]
        return following - self.stream.first

    def inject(self, count: int) -> None:
        """Injects the next `count` frames at full speed; returns when all are received."""
        until = self.sent + count
        with inside(self._namespace):
            while (missing := until - self.sent) > 0:
                # A signal cuts a run short; `sent` knows how short.
                with suppress(InterruptedError):
                    bpf.run_live(self._program, self._template, self._interface_index, missing)

    def inject_at(self, rate: float, count: int) -> None:
        """Injects the next `count` frames at `rate` frames a second, in steps of about 1 ms.

        What a step was late is made up for by the next one.
        """
        start = time.monotonic()
        before = self.sent
        while (done := self.sent - before) < count:
            due = min(count, int((time.monotonic() - start) * rate))
            if due > done:
                self.inject(due - done)
            else:
                time.sleep(max(_PACED_STEP, (done + 1) / rate - (time.monotonic() - start)))

    def close(self) -> None:
        """Lets go of the program and its maps."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _keep_ready(self) -> None:
        # A run of a program that is attached nowhere waits about 25 ms for RCU, twice, to
        # enter it into the XDP dispatcher and take it out again.  Attached to a loopback
        # that nobody uses it stays there, and a short run takes microseconds.
        with apart() as namespace:
            self._own(namespace)
            self._own(bpf.attach_xdp(self._program, _LOOPBACK))

    def _own(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor


def _entries(stream: Stream) -> bytes:
    longest = max(stream.lengths)
    entries = b""
    for length in stream.lengths:
        headers = stream.headers(length, FIRST_SOURCE_PORT)
        ipv4 = headers[-UDP_SIZE - IPV4_SIZE : -UDP_SIZE]
        udp = headers[-UDP_SIZE:]
        fields = ipv4[2:4] + ipv4[10:12] + udp[4:6]
        entries += struct.pack("<i6s6x", length - longest, fields)
    return entries


def _program(stream: Stream, counter: int, table: int) -> bytes:
    """r6: context, r7: the frame's number, r8: its entry in the table, r9: the frame."""
    return b"".join(
        [
            bpf.copy(R6, R1),
            *_take_number(counter),
            *_find_entry(table, len(stream.lengths)),
            *_trim(stream.number_offset + NUMBER_SIZE),
            *_write_headers(stream),
            bpf.swap_bytes(R7, 64),
            bpf.store(R9, stream.number_offset, R7, 8),
            bpf.leave(bpf.XDP_PASS),
        ]
    )


def _take_number(counter: int) -> list[bytes]:
    return [
        bpf.map_value(R1, counter),
        bpf.load(R7, R1, 0, 8),
        bpf.copy(R2, R7),
        bpf.add_constant(R2, 1),
        bpf.store(R1, 0, R2, 8),
    ]


def _find_entry(table: int, entries: int) -> list[bytes]:
    return [
        bpf.copy(R1, R7),
        bpf.modulo_constant(R1, entries),
        # The verifier does not see what the modulo means for the range.
        bpf.when_at_least(R1, entries, bpf.leave(bpf.XDP_ABORTED)),
        bpf.multiply_constant(R1, _ENTRY_SIZE),
        bpf.map_value(R8, table),
        bpf.add(R8, R1),
    ]


def _trim(written: int) -> list[bytes]:
    return [
        bpf.copy(R1, R6),
        bpf.load(R2, R8, 0, 4),
        bpf.call(bpf.ADJUST_TAIL),
        bpf.load(R9, R6, _CONTEXT_DATA, 4),
        bpf.load(R2, R6, _CONTEXT_DATA_END, 4),
        # The verifier must see that all that is written lies inside.
        bpf.copy(R3, R9),
        bpf.add_constant(R3, written),
        bpf.when_above(R3, R2, bpf.leave(bpf.XDP_ABORTED)),
    ]


def _write_headers(stream: Stream) -> list[bytes]:
    udp = stream.number_offset - UDP_SIZE
    ipv4 = udp - IPV4_SIZE
    return [
        bpf.store_bytes(R9, 0, stream.headers(stream.length(0), FIRST_SOURCE_PORT), R0),
        bpf.load(R0, R8, _TOTAL_LENGTH, 2),
        bpf.store(R9, ipv4 + 2, R0, 2),
        bpf.load(R0, R8, _CHECKSUM, 2),
        bpf.store(R9, ipv4 + 10, R0, 2),
        bpf.load(R0, R8, _UDP_LENGTH, 2),
        bpf.store(R9, udp + 4, R0, 2),
        bpf.copy(R0, R7),
        bpf.modulo_constant(R0, FLOWS),
        bpf.add_constant(R0, FIRST_SOURCE_PORT),
        bpf.swap_bytes(R0, 16),
        bpf.store(R9, udp, R0, 2),
    ]
