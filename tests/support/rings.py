"""A real ring on a veth of its own, with frames on demand."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from capd.ring import Geometry, open_ring
from tests.support.frames import Shape, Stream
from tests.support.need import need_frame_source
from tests.support.net import Namespace, inside
from tests.support.xdp import FrameSource

ACCEPT = struct.pack("=HBBI", 0x06, 0, 0, 262144)  # BPF_RET | BPF_K
NEVER_MS = 60_000  # a block that is not full stays with the kernel for as long as a test lasts
STREAM = Stream(Shape.fixed(1000))
SMALL = Geometry(block_size=16384, blocks=4, retire_ms=NEVER_MS)
PER_BLOCK = 15  # frames of STREAM: 1088 bytes each, in 16384 - 48


@dataclass(frozen=True)
class Rig:
    """A ring socket and what feeds it."""

    namespace: Namespace
    shape: Geometry
    socket: socket.socket
    source: FrameSource

    @property
    def fd(self) -> int:
        """The ring's descriptor."""
        return self.socket.fileno()


@contextmanager
def rig(shape: Geometry = SMALL) -> Iterator[Rig]:
    """A ring on v0 of a namespace of its own, that takes everything."""
    need_frame_source()
    with Namespace() as namespace:
        index = namespace.add_veth("v0", "v1")
        with (
            inside(namespace.name),
            FrameSource(STREAM, index) as source,
            open_ring("v0", shape, ACCEPT, promiscuous=False) as ring,
        ):
            yield Rig(namespace, shape, ring, source)
