"""The machine's interfaces as capd sees them, and which of them an entry means."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path

import pytest

from capd.config import Config, Interface
from capd.daemon import links
from capd.daemon.links import Link, Links
from capd.pcapng import LINKTYPE_ETHERNET
from tests.support.need import need, need_namespaces
from tests.support.net import Namespace, inside
from tests.support.wait import wait_for

ETHERNET = 1
NUMBERS = range(1000, 1100, 2)  # of links beside, so that all take several answers


@pytest.fixture
def net() -> Iterator[Namespace]:
    need_namespaces()
    need("ethtool")
    with Namespace() as namespace:
        namespace.add_veth("v0", "v1")
        yield namespace


def look(net: Namespace) -> Links:
    with inside(net.name):
        return asyncio.run(links.look())


def made(*names: str, default: str | None = None) -> Links:
    """Links of these names, made by hand."""
    by_name = {name: Link(name, index, ETHERNET) for index, name in enumerate(names, 1)}
    return Links(by_name, default)


def chosen(present: Links, *entries: str) -> list[tuple[str, str | None]]:
    """Each entry with what it means; None for nothing."""
    config = Config(interface=tuple(Interface(name=name) for name in entries))
    return [
        (choice.interface.name, choice.link.name if choice.link else None)
        for choice in links.choose(config, present)
    ]


def test_look(net: Namespace) -> None:
    present = look(net)
    assert set(present.by_name) == {"lo", "v0", "v1"}
    assert present.default is None
    first = present.by_name["v0"]
    assert (first.index, first.hardware, first.bond) == (net.index("v0"), ETHERNET, None)
    assert first.link_type == present.by_name["lo"].link_type == LINKTYPE_ETHERNET


def test_a_tunnel_has_no_ethernet_header(net: Namespace) -> None:
    net.run(["ip", "tuntap", "add", "t0", "mode", "tun"])
    net.run(["ip", "tuntap", "add", "t1", "mode", "tap"])
    present = look(net)
    assert present.by_name["t0"].link_type == links.LINKTYPE_RAW
    assert present.by_name["t1"].link_type == LINKTYPE_ETHERNET


def test_kinds_of_packets() -> None:
    """The numbers of linux/if_arp.h; a CAN bus (280) is nothing that capd knows."""
    known = {1: 1, 772: 1, 65534: 101, 519: 101, 768: 101, 778: 101, 803: 127}
    for hardware, link_type in known.items():
        assert Link("x", 1, hardware).link_type == link_type
    assert Link("can0", 1, 280).link_type is None


@pytest.mark.parametrize("name", [b"\xc3\xa90", b"v\xff\xfe", b"x\x1b[31m", b"a*b", b'"q"', b"-rf"])
@pytest.mark.security("names")
def test_odd_names(net: Namespace, name: bytes) -> None:
    """The kernel allows nearly every byte in a name."""
    command = net.command(["ip", "link", "set", "dev", "v1", "name"])
    subprocess.run([*map(os.fsencode, command), name], check=True)
    text = os.fsdecode(name)
    present = look(net)
    assert present.by_name[text].name == text
    with inside(net.name):
        assert present.by_name[text].index == socket.if_nametoindex(text)
    assert chosen(present, "*") == [("*", found) for found in sorted(["lo", "v0", text])]


def test_other_names(net: Namespace) -> None:
    """An exact name may be an other name (udev gives them); a pattern looks at the first one."""
    net.run(["ip", "link", "property", "add", "dev", "v0", "altname", "enp3s0", "altname", "up0"])
    present = look(net)
    assert present.by_name["v0"].other_names == ("enp3s0", "up0")
    assert present.by_name["v1"].other_names == ()
    assert chosen(present, "enp3s0") == [("enp3s0", "v0")]
    assert chosen(present, "enp*") == [("enp*", None)]
    assert chosen(present, "enp3s0", "v0", "up0") == [
        ("enp3s0", "v0"),
        ("v0", None),
        ("up0", None),
    ]


def add_default(net: Namespace, *words: str) -> None:
    net.run(["ip", *words[:1], "route", "add", *words[1:]])


def allow_ipv6(net: Namespace) -> None:
    net.run(["sysctl", "-q", *(f"net.ipv6.conf.{end}.disable_ipv6=0" for end in ("v0", "v1"))])


def test_default_route(net: Namespace) -> None:
    """The lowest metric, IPv4 before IPv6."""
    allow_ipv6(net)
    add_default(net, "-6", "default", "dev", "v1", "metric", "5")
    assert look(net).default == "v1"
    add_default(net, "-6", "default", "dev", "v0", "metric", "4")
    assert look(net).default == "v0"
    add_default(net, "-4", "default", "dev", "v1", "metric", "300")
    assert look(net).default == "v1"
    add_default(net, "-4", "default", "dev", "v0", "metric", "200")
    assert look(net).default == "v0"
    add_default(net, "-4", "default", "dev", "v1")
    assert look(net).default == "v1"
    net.delete_link("v1")
    assert look(net).default is None


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_what_is_no_default_route(net: Namespace, family: str) -> None:
    """Another table's is for a policy's packets; `unreachable` leads nowhere; /1 is not all."""
    allow_ipv6(net)
    half = "0.0.0.0/1" if family == "-4" else "::/1"
    add_default(net, family, "default", "dev", "v0", "table", "100")
    add_default(net, family, "unreachable", "default", "metric", "1")
    add_default(net, family, "blackhole", "default", "metric", "2")
    add_default(net, family, half, "dev", "v0")
    assert look(net).default is None
    add_default(net, family, "default", "dev", "v1", "metric", "9")
    assert look(net).default == "v1"


@pytest.mark.parametrize(
    ("family", "nets"),
    [("-4", ["192.0.2.1/25", "192.0.2.129/25"]), ("-6", ["2001:db8:0::1/48", "2001:db8:1::1/48"])],
)
def test_a_default_route_over_two_links(net: Namespace, family: str, nets: list[str]) -> None:
    """Several next hops: the first interface, and not none."""
    allow_ipv6(net)
    hops = []
    for end, address in zip(("v0", "v1"), nets, strict=True):
        net.run(["ip", family, "address", "add", address, "dev", end])
        gateway = str(ip_interface(address).ip + 1)
        hops += ["nexthop", "via", gateway, "dev", end]
    add_default(net, family, "default", *hops)
    assert look(net).default == min("v0", "v1", key=net.index)


def test_exact_before_pattern_before_default() -> None:
    """Whatever the order in the file, and each interface once."""
    present = made("eth0", "eth1", "enp1", default="eth1")
    assert chosen(present, "@default", "e*", "eth0") == [
        ("@default", None),
        ("e*", "enp1"),
        ("e*", "eth1"),
        ("eth0", "eth0"),
    ]
    assert chosen(present, "@default", "eth0") == [("@default", "eth1"), ("eth0", "eth0")]
    assert chosen(present, "eth1", "@default") == [("eth1", "eth1"), ("@default", None)]


def test_two_patterns() -> None:
    """The first of two that fit has it."""
    present = made("eth0", "eth1", "enp1")
    assert chosen(present, "eth[0-9]", "e*") == [
        ("eth[0-9]", "eth0"),
        ("eth[0-9]", "eth1"),
        ("e*", "enp1"),
    ]
    assert chosen(present, "e*", "eth[0-9]") == [
        ("e*", "enp1"),
        ("e*", "eth0"),
        ("e*", "eth1"),
        ("eth[0-9]", None),
    ]
    assert chosen(present, "ETH*", "eth[!0]") == [("ETH*", None), ("eth[!0]", "eth1")]


def test_absent() -> None:
    present = made("lo")
    assert chosen(present, "eth0", "w*", "@default") == [
        ("eth0", None),
        ("w*", None),
        ("@default", None),
    ]


def test_merging_offloads(net: Namespace) -> None:
    """Asked of the kernel; nothing is known of a link that has gone, and nothing is left open."""
    present = look(net)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with inside(net.name):
        assert links.merging_offloads(present.by_name["v0"]) == []
    net.run(["ethtool", "-K", "v0", "gro", "on"])
    with inside(net.name):
        assert links.merging_offloads(present.by_name["v0"]) == ["gro"]
        assert links.merging_offloads(present.by_name["lo"]) == []
        assert links.merging_offloads(Link("gone", 99, ETHERNET)) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_which_features_merge() -> None:
    assert links.merging({"rx-gro", "rx-lro", "tx-tcp-segmentation"}) == ["gro", "lro"]
    assert links.merging({"rx-gro-list", "rx-gro-hw"}) == []


def test_speed_of_what_has_none() -> None:
    assert links.speed("lo") is None
    assert links.speed("no-such-link") is None
    assert links.speed("v\udcff") is None


def test_watch(net: Namespace) -> None:
    """A link or a route that changes makes the socket readable, and nothing else does."""
    with inside(net.name):
        changes = links.watch()
    with changes:
        with pytest.raises(BlockingIOError):
            changes.recv(65536)
        changes.settimeout(10)
        for change in (
            ["ip", "link", "set", "v0", "down"],
            ["ip", "link", "set", "v0", "up"],
            ["ip", "route", "add", "default", "dev", "v1"],
        ):
            net.run(change)
            assert changes.recv(65536)


@contextmanager
def coming_and_going(net: Namespace) -> Iterator[None]:
    """Meanwhile `first` or `last` is there: the kernel tells of one before all others, or after."""
    links = [f"link add d{n} index {n} type veth peer name e{n} index {n + 1}" for n in NUMBERS]
    links += ["link add last index 9000 type veth peer name last1 index 9001"]
    changes = "link add first index 100 type veth peer name first1 index 101\nlink delete last\n"
    changes += f"{links[-1]}\nlink delete first\n"
    over = threading.Event()
    argv = ["ip", "-batch", "-"]
    with net.popen(argv, stdin=subprocess.PIPE) as program:

        def change() -> None:
            assert program.stdin is not None
            program.stdin.write("\n".join(links) + "\n")
            while not over.wait(0.005):
                program.stdin.write(changes)
                program.stdin.flush()
            program.stdin.close()

        thread = threading.Thread(target=change)
        thread.start()
        try:
            wait_for(lambda: "last" in look(net).by_name, 10, "the first change")
            yield
        finally:
            over.set()
            thread.join()


def test_a_link_that_stays_is_there_while_others_come_and_go(net: Namespace) -> None:
    with coming_and_going(net):
        for _ in range(15):
            assert {"first", "last"} & look(net).by_name.keys()
