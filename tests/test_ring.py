"""Opening a ring: its shape, its filter, its errors, and nothing that was not asked for."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import re
import resource
import select
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.capture.blocks import Blocks
from capd.errors import RingError
from capd.ring import (
    Geometry,
    attach_filter,
    available_memory,
    cookie,
    geometry,
    open_ring,
    total_memory,
)
from tests.support.frames import OTHER_HOST_MAC
from tests.support.load import steady
from tests.support.need import need_namespaces
from tests.support.net import Namespace, inside
from tests.support.rings import ACCEPT, NEVER_MS, PER_BLOCK, SMALL, rig
from tests.support.wait import wait_for

REJECT = struct.pack("=HBBI", 0x06, 0, 0, 0)
SIOCSHWTSTAMP, SOL_PACKET, PACKET_TIMESTAMP = 0x89B0, 263, 17  # <linux/sockios.h>, if_packet.h
SOFTWARE_STAMP, HARDWARE_STAMP = 1 << 29, 1 << 31  # TP_STATUS_TS_*
CUT = struct.pack("=HBBI", 0x06, 0, 0, 40)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """The pair v0 and v1; this thread is in there."""
    need_namespaces()
    with Namespace() as made:
        made.add_veth("v0", "v1")
        with inside(made.name):
            yield made


@given(st.integers(0, 2**40), st.integers(0, 10**12))
def test_geometry(ring_size: int, flush_interval: int) -> None:
    """Enough, not much more, and of blocks that the kernel and the disk take."""
    shape = geometry(ring_size, flush_interval)
    assert shape.size >= ring_size
    assert shape.size - shape.block_size < max(ring_size, 16 * 2**18)
    assert shape.blocks >= 16
    assert shape.block_size % mmap.PAGESIZE == 0
    assert 2**18 <= shape.block_size <= 2**22
    assert shape.block_size == 2**18 or shape.block_size * 16 <= ring_size
    assert shape.retire_ms == max(1, flush_interval // 10**6)


def test_absent_interface(namespace: Namespace) -> None:
    """By its name, and no descriptor stays open."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(RingError, match=r"cannot capture on v9: No such device"):
        open_ring("v9", SMALL, ACCEPT, promiscuous=False)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.fault(18)
def test_a_ring_larger_than_any_machine(namespace: Namespace) -> None:
    """What was asked for, what there is, and what to do; no descriptor stays open.

    The kernel refuses this one at once, as its list of blocks alone is 16 GiB.  It would try
    to allocate one that is merely larger than the memory, and call the OOM killer.
    """
    before = os.listdir("/proc/self/fd")
    with pytest.raises(RingError, match=r"^cannot have a ring of 8 TiB for v0: not enough") as it:
        open_ring("v0", Geometry(4096, 2**31 - 1, 100), ACCEPT, promiscuous=False)
    assert re.search(r" memory \(.+B available\); make ring_size smaller$", str(it.value))
    assert os.listdir("/proc/self/fd") == before


def test_memory() -> None:
    """Plausible numbers."""
    assert 2**24 < available_memory() <= total_memory() < 2**50


def test_cookie(namespace: Namespace) -> None:
    """One number for one socket, by whatever descriptor."""
    with (
        open_ring("v0", SMALL, ACCEPT, promiscuous=False) as one,
        open_ring("v0", SMALL, ACCEPT, promiscuous=False) as other,
        socket.socket(fileno=os.dup(one.fileno())) as same,
    ):
        assert cookie(one) == cookie(same) != cookie(other)
        assert cookie(one) > 0


@pytest.mark.parametrize("promiscuous", [False, True])
def test_promiscuous(namespace: Namespace, *, promiscuous: bool) -> None:
    """Only where it is asked for, and only for as long as the socket lives."""

    shown = namespace.run(["ip", "-d", "link", "show", "v0"]).stdout
    assert "promiscuity 0" in shown
    with open_ring("v0", SMALL, ACCEPT, promiscuous=promiscuous):
        shown = namespace.run(["ip", "-d", "link", "show", "v0"]).stdout
        assert f"promiscuity {int(promiscuous)}" in shown
    assert "promiscuity 0" in namespace.run(["ip", "-d", "link", "show", "v0"]).stdout


@pytest.mark.fault(7)
def test_other_interfaces_are_not_heard(namespace: Namespace) -> None:
    """Neither before nor after the bind: what v1 sends arrives at v0, and only that counts."""
    with open_ring("v0", SMALL, ACCEPT, promiscuous=False) as ring:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for _ in range(20):
                udp.sendto(b"to lo", ("127.0.0.1", 9))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind(("v1", 0))
            raw.send(OTHER_HOST_MAC + bytes(48))
        assert Blocks(ring.fileno(), SMALL).packets == 1


@pytest.mark.fault(7)
def test_a_loud_link_is_not_heard_while_a_ring_opens(namespace: Namespace) -> None:
    """A hundred rings are opened beside it, and not one of them has a packet."""
    index = namespace.add_veth("w0", "w1")
    with steady(namespace.name, index, rate=50_000) as source:
        wait_for(lambda: source.sent > 1000, 10, "traffic")
        for _ in range(100):
            with open_ring("v0", SMALL, ACCEPT, promiscuous=False) as ring:
                assert Blocks(ring.fileno(), SMALL).packets == 0
        before = source.sent
    assert before > 2000


@pytest.mark.fault(17)
def test_every_stamp_is_the_kernels_own() -> None:
    """No ring asks for a NIC's stamps, and this one has none: the kernel says EOPNOTSUPP."""
    with rig() as ring:
        config = bytearray(struct.pack("iii", 0, 1, 1))  # hwtstamp_config: on, all packets
        address = (ctypes.c_char * len(config)).from_buffer(config)
        request = struct.pack("16sQ16x", b"v0", ctypes.addressof(address))
        with pytest.raises(OSError, match="Operation not supported"):
            fcntl.ioctl(ring.fd, SIOCSHWTSTAMP, request)
        assert ring.socket.getsockopt(SOL_PACKET, PACKET_TIMESTAMP) == 0
        blocks = Blocks(ring.fd, ring.shape)
        ring.source.inject(5)
        assert blocks.packets == 5
        first, kinds = 48, set()
        for _ in range(5):
            (step,) = struct.unpack_from("=I", blocks.memory, first)
            (status,) = struct.unpack_from("=I", blocks.memory, first + 20)
            kinds.add(status & (SOFTWARE_STAMP | HARDWARE_STAMP))
            first += step
        assert kinds == {SOFTWARE_STAMP}


def test_filters_are_exchanged_on_the_live_socket() -> None:
    """In force at once, and what they return is the snaplen."""
    with rig() as ring:
        blocks = Blocks(ring.fd, ring.shape)
        ring.source.inject(3)
        attach_filter(ring.socket, REJECT)
        ring.source.inject(5)
        assert blocks.packets == 3
        attach_filter(ring.socket, CUT)
        ring.source.inject(2)
        assert blocks.packets == 5
        first = 48
        (step,) = struct.unpack_from("=I", blocks.memory, first)
        sizes = []
        for _ in range(5):
            sizes.append(struct.unpack_from("=II", blocks.memory, first + 12))
            (step,) = struct.unpack_from("=I", blocks.memory, first)
            first += step
        assert sizes == [(1000, 1000)] * 3 + [(40, 1000)] * 2


def test_filters_that_the_kernel_refuses() -> None:
    """Are an error, and the one before stays in force."""
    with rig() as ring:
        blocks = Blocks(ring.fd, ring.shape)
        attach_filter(ring.socket, REJECT)
        with pytest.raises(OSError, match="Invalid argument"):
            attach_filter(ring.socket, struct.pack("=HBBI", 0x05, 0, 0, 9))  # a jump outside
        ring.source.inject(5)
        assert blocks.packets == 0


def test_a_block_is_handed_over_after_its_time() -> None:
    """Full or not; without the time it stays with the kernel until it is full."""
    with rig(Geometry(16384, 4, 20)) as ring:
        blocks = Blocks(ring.fd, ring.shape)
        ring.source.inject(1)
        assert select.select([ring.socket], [], [], 5)[0]
        assert blocks.ready
    with rig(Geometry(16384, 4, NEVER_MS)) as ring:
        blocks = Blocks(ring.fd, ring.shape)
        ring.source.inject(PER_BLOCK)
        assert not blocks.ready
        ring.source.inject(1)
        assert blocks.ready


def test_no_descriptor_is_left(namespace: Namespace) -> None:
    """For the ring itself: that is an error like any other, with the interface in it."""
    taken, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
    try:
        with pytest.raises(RingError, match=r"cannot capture on v0: Too many open files"):
            open_ring("v0", SMALL, ACCEPT, promiscuous=False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken, most))
