"""The machine's network interfaces, as they are now, and which of them the config means.

Facts come from rtnetlink through pyroute2; the speed, which rtnetlink does not tell, from
sysfs.  `watch` gives a socket that becomes readable when something may have changed: the
answer is to look again, so no event can be missed or misread.

A name is text as Python's file names are: bytes that are not UTF-8 are surrogates in it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.ethtool import Ethtool
from pyroute2.ethtool.ioctl import EthtoolError

from capd.config import Config, Interface
from capd.pcapng import LINKTYPE_ETHERNET

LOOKS = 5  # at interfaces that come and go meanwhile

# <linux/rtnetlink.h>
RTMGRP_LINK = 0x1
RTMGRP_IPV4_ROUTE = 0x40
RTMGRP_IPV6_ROUTE = 0x400
RT_TABLE_MAIN = 254
RTN_UNICAST = 1  # not `unreachable` and its like, which lead nowhere

# <linux/netlink.h>
NLM_F_DUMP_INTR = 0x10

# <linux/if.h>
IFF_UP = 0x1
IFF_LOWER_UP = 0x10000

ARPHRD_LOOPBACK = 772  # <linux/if_arp.h>

# ARPHRD_* of <linux/if_arp.h> -> LINKTYPE_* of tcpdump.org/linktypes.html
LINKTYPE_RAW = 101
LINKTYPE_RADIOTAP = 127
_LINK_TYPES = {
    1: LINKTYPE_ETHERNET,  # ARPHRD_ETHER
    ARPHRD_LOOPBACK: LINKTYPE_ETHERNET,
    519: LINKTYPE_RAW,  # ARPHRD_RAWIP
    65534: LINKTYPE_RAW,  # ARPHRD_NONE: tun, WireGuard
    768: LINKTYPE_RAW,  # ARPHRD_TUNNEL
    769: LINKTYPE_RAW,  # ARPHRD_TUNNEL6
    776: LINKTYPE_RAW,  # ARPHRD_SIT
    778: LINKTYPE_RAW,  # ARPHRD_IPGRE
    823: LINKTYPE_RAW,  # ARPHRD_IP6GRE
    803: LINKTYPE_RADIOTAP,  # ARPHRD_IEEE80211_RADIOTAP
}
_MERGING = {"rx-gro": "gro", "rx-lro": "lro"}


@dataclass(frozen=True)
class Link:
    """One interface of this machine."""

    name: str
    index: int
    hardware: int  # ARPHRD_*
    bond: str | None = None  # the bond that it is a member of
    other_names: tuple[str, ...] = ()  # what udev and `ip link property` call it besides
    up: bool = True  # as set by the administrator
    carrier: bool = True  # there is somebody at the other end

    @property
    def running(self) -> bool:
        """Whether packets can come."""
        return self.up and self.carrier

    @property
    def link_type(self) -> int | None:
        """The LINKTYPE_* of its packets; None where capd knows none."""
        return _LINK_TYPES.get(self.hardware)


@dataclass(frozen=True)
class Links:
    """All interfaces, and the name of the one with the default route."""

    by_name: dict[str, Link]
    default: str | None


@dataclass(frozen=True)
class Choice:
    """Which config entry means which interface; no link: nothing to capture yet."""

    interface: Interface
    link: Link | None


async def look() -> Links:
    """The interfaces of this network namespace."""
    async with AsyncIPRoute() as route:
        messages = await _all_links(route)
        default = await _default_index(route)
    names = {message["index"]: _text(message.get_attr("IFLA_IFNAME")) for message in messages}
    bonds = {message["index"] for message in messages if _kind(message) == "bond"}
    links = {}
    for message in messages:
        master = message.get_attr("IFLA_MASTER")
        links[names[message["index"]]] = Link(
            name=names[message["index"]],
            index=message["index"],
            hardware=message["ifi_type"],
            bond=names[master] if master in bonds else None,
            other_names=_other_names(message),
            up=bool(message["flags"] & IFF_UP),
            carrier=bool(message["flags"] & IFF_LOWER_UP),
        )
    return Links(links, names.get(default))


def choose(config: Config, links: Links) -> list[Choice]:
    """What to capture: an exact name before a pattern before `@default`, each link once.

    Every entry is answered; one that means no interface now has no link.  An exact name may
    be one of an interface's other names; patterns look at the first name only.
    """
    taken: set[str] = set()
    choices: dict[int, list[Choice]] = {}
    entries = list(enumerate(config.interface))
    for kind in ("exact", "pattern", "default"):
        for position, entry in entries:
            if entry.name_kind != kind:
                continue
            free = matching(entry, links) - taken
            taken |= free
            found = [Choice(entry, links.by_name[name]) for name in sorted(free)]
            choices[position] = found or [Choice(entry, None)]
    return [choice for position, _ in entries for choice in choices[position]]


def matching(entry: Interface, links: Links) -> set[str]:
    """The interfaces that an entry means, whether another one has them first or not."""
    if entry.name_kind == "default":
        return {links.default} if links.default else set()
    if entry.name_kind == "pattern":
        return {name for name in links.by_name if fnmatchcase(name, entry.name)}
    if entry.name in links.by_name:
        return {entry.name}
    return {name for name, link in links.by_name.items() if entry.name in link.other_names}


def absence(entry: Interface, links: Links) -> str:
    """Why an entry means no interface, and what happens then."""
    if entry.name_kind == "default" and links.default is None:
        return "there is no default route; capd waits for one"
    if not matching(entry, links):
        missing = "no such interface" if entry.name_kind == "exact" else "no interface like that"
        hint = '; did you mean "*", all interfaces?' if entry.name == "any" else ""
        return f"there is {missing}; capd waits for one{hint}"
    if entry.name_kind == "default":
        return f"{links.default} has the default route and an entry that comes first"
    return "what it means has an entry that comes first; capd waits for one"


def speed(name: str) -> int | None:
    """Bits per second, or None where the driver does not say."""
    try:
        with open(f"/sys/class/net/{name}/speed") as text:
            megabits = int(text.read())
    except (OSError, ValueError):
        return None
    return megabits * 10**6 if megabits > 0 else None


def merging_offloads(link: Link) -> list[str]:
    """The offloads in use that merge frames before capd sees them: of `gro` and `lro`."""
    if link.hardware == ARPHRD_LOOPBACK:  # it says that gro is on, and has no use for it
        return []
    try:
        with Ethtool() as ethtool:
            features = ethtool.get_features(link.name).features
    except (EthtoolError, OSError):
        return []
    return merging({name for name, feature in features.items() if feature.enable})


def merging(features: set[str]) -> list[str]:
    """Of the features in use, those that merge frames, by the names that `ethtool -K` takes."""
    return [short for feature, short in _MERGING.items() if feature in features]


def watch() -> socket.socket:
    """A socket that becomes readable when a link or a route changes."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    sock.bind((0, RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE))
    return sock


async def _all_links(route: AsyncIPRoute) -> list[Any]:
    """What the kernel tells of all of them.

    Where one comes or goes while it tells, others may be missing from what it says.  If they never
    rest, one that was seen at any look counts: better a link too many than a capture that ends.
    """
    seen: dict[int, Any] = {}
    for _ in range(LOOKS):
        messages = [message async for message in await route.get_links()]
        if not any(message["header"]["flags"] & NLM_F_DUMP_INTR for message in messages):
            return messages
        seen |= {message["index"]: message for message in messages}
    return list(seen.values())


async def _default_index(route: AsyncIPRoute) -> int | None:
    """The way out of the main table with the lowest metric, IPv4's before IPv6's."""
    for family in (socket.AF_INET, socket.AF_INET6):
        ways = [
            (message.get_attr("RTA_PRIORITY") or 0, way)
            # pyroute2 gives those of every table and type, whatever it is asked for
            async for message in await route.get_default_routes(family=family)
            if message["type"] == RTN_UNICAST and message.get_attr("RTA_TABLE") == RT_TABLE_MAIN
            for way in _ways(message)
        ]
        if ways:
            return int(min(ways)[1])
    return None


def _ways(route: Any) -> list[int]:
    """The interfaces that a route leads over."""
    only = route.get_attr("RTA_OIF")
    return [only] if only else [hop["oif"] for hop in route.get_attr("RTA_MULTIPATH") or ()]


def _kind(link: Any) -> str | None:
    info = link.get_attr("IFLA_LINKINFO")
    return info.get_attr("IFLA_INFO_KIND") if info else None


def _other_names(link: Any) -> tuple[str, ...]:
    properties = link.get_attr("IFLA_PROP_LIST")
    return tuple(map(_text, properties.get_attrs("IFLA_ALT_IFNAME"))) if properties else ()


def _text(name: str | bytes) -> str:
    """pyroute2 gives a name that is not UTF-8 as bytes."""
    return os.fsdecode(name)
