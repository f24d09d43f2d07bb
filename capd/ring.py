"""A packet ring as a socket: its geometry, and opening it in the order that leaks nothing.

The ring belongs to the socket and outlives any process as long as someone holds the
descriptor.  This module opens it; `capture.blocks` maps and reads it.  Kernel facts:
net/packet/af_packet.c, Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import struct
from array import array
from typing import NamedTuple

from capd.errors import RingError
from capd.units import format_size

# <linux/if_packet.h>
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_DROP_MEMBERSHIP = 2
PACKET_RX_RING = 5
PACKET_VERSION = 10
PACKET_MR_PROMISC = 1
TPACKET_V3 = 2
# <asm-generic/socket.h>
SO_ATTACH_FILTER = 26
SO_TIMESTAMPNS = 35
SO_COOKIE = 57
ETH_P_ALL = 0x0003
REJECT_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0 bytes

FRAME_SIZE = 2048  # V3 packs frames of any size; the kernel only checks the arithmetic
MAX_BLOCK = 4 * 2**20
MIN_BLOCK = 256 * 2**10
MIN_RING = 16 * MIN_BLOCK
MEMORY_LIMIT = 3 / 4  # of the available memory: more is refused


class Geometry(NamedTuple):
    """A ring's shape; there is no way to ask the kernel for it later."""

    block_size: int  # bytes
    blocks: int
    retire_ms: int  # a block with a packet in it is handed over after this, full or not

    @property
    def size(self) -> int:
        """Bytes of kernel memory."""
        return self.block_size * self.blocks


def geometry(ring_size: int, flush_interval: int) -> Geometry:
    """The shape of a ring of at least `ring_size` bytes.

    Blocks are as large as they may be while there are sixteen of them: a block is one
    write to the disk, and large writes are what keeps up (1 MiB lost 19 % at 14 Gb/s
    where 4 MiB lost nothing).  A frame must fit into a block whole.
    """
    block = MAX_BLOCK
    while block > MIN_BLOCK and block * 16 > ring_size:
        block //= 2
    blocks = max(16, -(-ring_size // block))
    return Geometry(block, blocks, max(1, flush_interval // 1_000_000))


def open_ring(
    interface: str, shape: Geometry, program: bytes, *, promiscuous: bool
) -> socket.socket:
    """A bound socket that fills a ring of this shape with what `program` (cBPF) accepts.

    RingError says what was asked for and what the machine has.  The socket is created
    with protocol 0: with any other it receives from every interface until it is bound.
    """
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise RingError(
            f"cannot capture on {interface}: no right to; run capd as root or with CAP_NET_RAW"
        ) from error
    except OSError as error:
        raise RingError(f"cannot capture on {interface}: {error.strerror}") from error
    try:
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        attach_filter(sock, program)
        _allocate(sock, interface, shape)
        index = socket.if_nametoindex(interface)
        if promiscuous:
            set_promiscuous(sock, index, on=True)
        sock.bind((interface, ETH_P_ALL))
    except RingError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        # if_nametoindex gives no number with its error before Python 3.13
        reason = error.strerror or os.strerror(errno.ENODEV)
        raise RingError(f"cannot capture on {interface}: {reason}") from error
    return sock


def bound_index(sock: socket.socket) -> int:
    """The index of the interface that it is bound to; 0 if that is gone."""
    try:
        return socket.if_nametoindex(sock.getsockname()[0])
    except OSError:
        return 0


def _allocate(sock: socket.socket, interface: str, shape: Geometry) -> None:
    # Asked for more than there is, the kernel may kill other processes before it refuses.
    if shape.size > available_memory() * MEMORY_LIMIT:
        raise _no_ring(interface, shape, "not enough memory")
    request = struct.pack(
        "7I",
        shape.block_size,
        shape.blocks,
        FRAME_SIZE,
        shape.size // FRAME_SIZE,
        shape.retire_ms,
        0,
        0,
    )
    try:
        sock.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        # The kernel maps a ring only whole and at its exact size: this is the reading back.
        mmap.mmap(sock.fileno(), shape.size).close()
    except OSError as error:
        raise _no_ring(interface, shape, os.strerror(error.errno or 0)) from error


def _no_ring(interface: str, shape: Geometry, reason: str) -> RingError:
    return RingError(
        f"cannot have a ring of {format_size(shape.size)} for {interface}: {reason} "
        f"({format_size(available_memory())} available); make ring_size smaller"
    )


def set_promiscuous(sock: socket.socket, index: int, *, on: bool) -> None:
    """Ask for frames that are for other machines, or no longer, on the interface of this index."""
    request = struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b"")
    option = PACKET_ADD_MEMBERSHIP if on else PACKET_DROP_MEMBERSHIP
    sock.setsockopt(SOL_PACKET, option, request)


def attach_filter(sock: socket.socket, program: bytes) -> None:
    """Put a filter on a socket, in one step in place of the one before.

    `program` is an array of struct sock_filter, 8 bytes each.
    """
    code = array("B", program)
    fprog = struct.pack("HP", len(program) // 8, code.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


def cookie(sock: socket.socket) -> int:
    """The number that names this socket for as long as the machine runs."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")


def available_memory() -> int:
    """Bytes that can be had without swapping."""
    return _meminfo("MemAvailable:")


def total_memory() -> int:
    """Bytes of the machine's memory."""
    return _meminfo("MemTotal:")


def _meminfo(key: str) -> int:
    with open("/proc/meminfo") as meminfo:
        for line in meminfo:
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    raise RingError(f"cannot find {key} in /proc/meminfo")
