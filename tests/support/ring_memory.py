"""The memory of a running daemon's ring, to be damaged as no kernel does it."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PIDFD_GETFD = 438  # <asm-generic/unistd.h>
_STATUS, _PACKETS, _FIRST = 8, 12, 16  # <linux/if_packet.h>, tpacket_block_desc
_USER = 1  # TP_STATUS_USER
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def ring_memory(daemon: int, size: int) -> Iterator[mmap.mmap]:
    """The packet ring of this process, which has only one."""
    listed = Path(f"/proc/{daemon}/net/packet").read_text().split()
    (number,) = [
        int(fd.name)
        for fd in Path(f"/proc/{daemon}/fd").iterdir()
        if _inode_of_socket(fd) in listed
    ]
    pidfd = os.pidfd_open(daemon)
    fd = _libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
    os.close(pidfd)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    try:
        with mmap.mmap(fd, size, mmap.MAP_SHARED) as memory:
            yield memory
    finally:
        os.close(fd)


def _inode_of_socket(fd: Path) -> str | None:
    """None for what is no socket, and for a descriptor that was closed meanwhile."""
    try:
        match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(fd))
    except FileNotFoundError:
        return None
    return match and match[1]


def retired(memory: mmap.mmap, block_size: int) -> list[int]:
    """Where the blocks begin that wait for the worker."""
    return [
        at
        for at in range(0, len(memory), block_size)
        if struct.unpack_from("=I", memory, at + _STATUS)[0] & _USER
    ]


def break_chain(memory: mmap.mmap, block: int, keep: int) -> int:
    """Let the packet number `keep` of a block lead nowhere; gives how many come after it."""
    packets, first = struct.unpack_from("=II", memory, block + _PACKETS)
    at = block + first
    for _ in range(keep - 1):
        at += struct.unpack_from("=I", memory, at)[0]
    struct.pack_into("=I", memory, at, 0xFFFFFFF0)  # tp_next_offset
    return int(packets) - keep
