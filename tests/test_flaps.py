"""A link that goes down and comes up, at whatever speed, keeps its ring and its segment."""

from __future__ import annotations

import fcntl
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.load import RATE, STREAM
from tests.support.need import need
from tests.support.net import Namespace, inside
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

COUNT = RATE // 10
# A block waits for a second: the link is down before its last packets are written.
CAPTURE = 'rotate_interval = "7d"\nflush_interval = "1s"'
CAPTURING = r"v0: capturing "
DOWN = r"WARNING v0: the (interface was set down|link is down)"
GAP = r"WARNING v0: no packets from"
SUCCEEDED = r"v0: packets from .* are in another ring"

# <linux/if_tun.h>
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x2, 0x1000


def _told(capd: Recorder, pattern: str) -> int:
    return sum(bool(re.search(pattern, line)) for line in list(capd.lines))


def _set_down(capd: Recorder, net: Namespace) -> None:
    """Until the daemon has told it, which is after it has looked at the ring."""
    before = _told(capd, DOWN)
    net.set_link("v0", "down")
    wait_for(lambda: _told(capd, DOWN) > before, 10, "its being down")


def _set_up(capd: Recorder, net: Namespace) -> None:
    before = _told(capd, GAP)
    net.set_link("v0", "up")
    wait_for(lambda: _told(capd, GAP) > before, 10, "the gap")


def _set_speed(net: Namespace, megabits: int) -> None:
    net.run(["ethtool", "-s", "v0", "speed", str(megabits), "duplex", "full"])


@contextmanager
def _tap(net: Namespace, megabits: int, state: str) -> Iterator[int]:
    """A link whose speed can be set; its index."""
    need("ethtool")
    with inside(net.name), open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"v0", IFF_TAP | IFF_NO_PI))
        net.set_link("v0", "arp", "off", "multicast", "off", state)
        _set_speed(net, megabits)
        yield net.index("v0")


def _speed(net: Namespace) -> str:
    """What sysfs tells; nothing where it refuses to."""
    return net.run(["cat", "/sys/class/net/v0/speed"], check=False).stdout.strip()


@pytest.mark.fault(10)
@pytest.mark.parametrize("size", ["", "64MiB"], ids=["default", "set"])
def test_down_and_up(net: Namespace, tmp_path: Path, size: str) -> None:
    """A veth that is set down tells no speed; the ring's counters go on, and so does its file."""
    index = net.add_veth("v0", "v1")
    path = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE, ring=size)
    with Recorder(net, path) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        for number in (1, 2):
            source.inject_at(RATE, COUNT)
            assert _speed(net) == "10000"
            _set_down(capd, net)
            assert _speed(net) == ""
            wait_for(lambda: _written(capd) >= number * COUNT, 10, "the last block")  # noqa: B023
            _set_up(capd, net)
        source.inject_at(RATE, COUNT)
        assert capd.worker() == worker
        assert capd.stop() == 0
    assert (_told(capd, CAPTURING), _told(capd, SUCCEEDED)) == (1, 0)
    assert capd.summary("v0").received == 3 * COUNT
    (segment,) = segments(tmp_path, "v0")
    judge.check_numbers([segment], STREAM, 3 * COUNT)
    assert parts(tmp_path, "v0") == []


@pytest.mark.fault(10)
@pytest.mark.parametrize("size", ["", "64MiB"], ids=["default", "set"])
def test_up_with_another_speed(net: Namespace, tmp_path: Path, size: str) -> None:
    """Neither a higher nor a lower one; a reload while it is down; one while it is up takes it."""
    path = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE, ring=size)
    with (
        _tap(net, 1000, "up") as index,
        FrameSource(STREAM, index, net.name) as source,
        Recorder(net, path) as capd,
    ):
        capd.wait_capturing("v0")
        worker = capd.worker()
        for megabits in (800, 2000):
            source.inject_at(RATE, COUNT)
            _set_down(capd, net)
            assert capd.reload() == "nothing changed\n"
            _set_speed(net, megabits)
            _set_up(capd, net)
        source.inject_at(RATE, COUNT)
        wait_for(lambda: _written(capd) == 3 * COUNT, 10, "all of them written")
        assert capd.worker() == worker
        assert (_told(capd, CAPTURING), segments(tmp_path, "v0")) == (1, [])
        speed = "v0: its speed 1 Gb/s -> 2 Gb/s"
        ring = ", with a new ring"
        grown = f"v0: ring_size 120 MiB -> 240 MiB{ring}\n{speed}{ring}\n"
        assert capd.reload() == (f"{speed}\n" if size else grown)
        source.inject_at(RATE, COUNT)
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 4 * COUNT)


def _written(capd: Recorder) -> int:
    return sum(ring.counters.written for ring in capd.status().rings)


def test_the_first_speed_of_a_link_that_was_down(net: Namespace, tmp_path: Path) -> None:
    """Its ring, opened when nobody knew the speed, grows once, whatever it tells later."""
    path = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE, ring="")
    with (
        _tap(net, 3000, "down") as index,
        FrameSource(STREAM, index, net.name) as source,
        Recorder(net, path) as capd,
    ):
        capd.wait_line("v0: capturing .* ring of 256 MiB")
        net.set_link("v0", "up")
        capd.wait_line("v0: capturing .* ring of 360 MiB")
        capd.wait_line(SUCCEEDED)
        source.inject_at(RATE, COUNT)
        _set_down(capd, net)
        _set_speed(net, 4000)
        _set_up(capd, net)
        source.inject_at(RATE, COUNT)
        assert capd.stop() == 0
    assert (_told(capd, CAPTURING), _told(capd, SUCCEEDED)) == (2, 1)
    (segment,) = segments(tmp_path, "v0")
    judge.check_numbers([segment], STREAM, 2 * COUNT)
