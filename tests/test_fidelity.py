"""What a packet looks like in the file: tags, lengths, direction, and what a filter lets in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.frames import IMIX, Shape, Stream
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.xdp import FrameSource

SENDER = """
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3):
    sender.sendto(b"outgoing", ("192.0.2.9", 9))
"""
TUN_USER = """
import fcntl, struct, sys
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"t0", 0x1001))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    "tags",
    [(), ((0x8100, 101),), ((0x88A8, 0xE007), (0x8100, 42)), ((0x8100, 0),)],
    ids=["none", "802.1Q", "QinQ with PCP", "priority tag of VLAN 0"],
)
def test_the_outer_tag_is_put_back(
    net: Namespace, tmp_path: Path, tags: tuple[tuple[int, int], ...]
) -> None:
    count, stream = 5_000, Stream(IMIX, tags)
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0")
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject(count)
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), stream, count)


def test_filters_see_the_frame_without_its_outer_tag(net: Namespace, tmp_path: Path) -> None:
    stream = Stream(IMIX, ((0x8100, 101),))
    index = net.add_veth("v0", "v1")
    config = write_config(
        tmp_path / "capd.toml",
        tmp_path,
        "v0",
        capture='filter = "udp src port 40003 and vlan 101"',
    )
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject(1600)
        assert capd.stop() == 0
    found = segments(tmp_path, "v0")
    assert judge.numbers(found, stream) == list(range(3, 1600, 16))
    told = subprocess.run(["capinfos", str(found[0])], capture_output=True, text=True, check=True)
    assert "udp src port 40003 and vlan 101" in told.stdout


@pytest.mark.fault(8)
def test_snaplen_cuts_and_keeps_the_length(net: Namespace, tmp_path: Path) -> None:
    stream = Stream(Shape.fixed(700))
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='snaplen = "96B"')
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject(100)
        assert capd.stop() == 0
    (path,) = segments(tmp_path, "v0")
    packets = list(judge.packets(path))
    assert len(packets) == 100
    assert all(packet.original_length == 700 for packet in packets)
    assert [packet.data for packet in packets] == [stream.expected(n)[:96] for n in range(100)]


@pytest.mark.parametrize(
    ("direction", "kept"), [("in", {"in"}), ("out", {"out"}), ("both", {"in", "out"})]
)
def test_direction(net: Namespace, tmp_path: Path, direction: str, kept: set[str]) -> None:
    """What v0 sends and what it receives, told apart by the flags in the file."""
    stream = Stream(Shape.fixed(100))
    index = net.add_veth("v0", "v1")
    config = write_config(
        tmp_path / "capd.toml",
        tmp_path,
        "v0",
        capture=f'direction = "{direction}"\nrecord_direction = true',
    )
    net.run(["ip", "address", "add", "192.0.2.1/24", "dev", "v0"])
    net.run(["ip", "neighbour", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:99", "dev", "v0"])
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject(50)
        net.run([sys.executable, "-c", SENDER])
        assert capd.stop() == 0
    (path,) = segments(tmp_path, "v0")
    told = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.packet_flags_direction"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    words = {"0x00000001": "in", "0x00000002": "out", "1": "in", "2": "out"}
    assert {words[flag] for flag in told} == kept


@pytest.mark.fault(14)
def test_a_packet_layer_without_ethernet(net: Namespace, tmp_path: Path) -> None:
    """A tunnel, beside an Ethernet: each has files of its own, of one kind of link."""
    stream, index = Stream(IMIX), net.add_veth("v0", "v1")
    net.run(["ip", "tuntap", "add", "t0", "mode", "tun"])
    net.run(["ip", "address", "add", "192.0.2.1/24", "dev", "t0"])
    config = write_config(tmp_path / "capd.toml", tmp_path, "t0", "v0", capture='filter = "udp"')
    tun = net.popen([sys.executable, "-c", TUN_USER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert tun.stdout is not None
    assert tun.stdout.readline() == "open\n"
    net.run(["ip", "link", "set", "t0", "up"])
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("t0", "v0")
        net.run([sys.executable, "-c", SENDER])
        source.inject(100)
        assert capd.stop() == 0
    (path,) = segments(tmp_path, "t0")
    judge.assert_clean(path)
    sent = [packet.data for packet in judge.packets(path)]
    assert [data[0] >> 4 for data in sent] == [4, 4, 4]
    judge.check_numbers(segments(tmp_path, "v0"), stream, 100)
    kinds = {"t0": "Raw IP", "v0": "Ethernet"}
    for name, kind in kinds.items():
        (path,) = segments(tmp_path, name)
        argv = ["capinfos", "-E", str(path)]
        told = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert told.stdout.splitlines()[-1].split(":")[1].strip() == kind
