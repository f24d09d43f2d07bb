"""The machine's network interfaces, as they are now, and which of them the config means.

Facts come from rtnetlink through pyroute2; the speed, which rtnetlink does not tell, from
sysfs.  `watch` gives a socket that becomes readable when something may have changed: the
answer is to look again, so no event can be missed or misread.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pyroute2 import AsyncIPRoute
from pyroute2.ethtool import Ethtool
from pyroute2.ethtool.ioctl import EthtoolError

from capd.config import Config, Interface

# <linux/rtnetlink.h>
RTMGRP_LINK = 0x1
RTMGRP_IPV4_ROUTE = 0x40
RTMGRP_IPV6_ROUTE = 0x400

# ARPHRD_* of <linux/if_arp.h> -> LINKTYPE_* of tcpdump.org/linktypes.html
LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
_LINK_TYPES = {
    1: LINKTYPE_ETHERNET,  # ARPHRD_ETHER
    772: LINKTYPE_ETHERNET,  # ARPHRD_LOOPBACK
    519: LINKTYPE_RAW,  # ARPHRD_RAWIP
    65534: LINKTYPE_RAW,  # ARPHRD_NONE: tun, WireGuard
    768: LINKTYPE_RAW,  # ARPHRD_TUNNEL
    769: LINKTYPE_RAW,  # ARPHRD_TUNNEL6
    776: LINKTYPE_RAW,  # ARPHRD_SIT
    778: LINKTYPE_RAW,  # ARPHRD_IPGRE
    823: LINKTYPE_RAW,  # ARPHRD_IP6GRE
    803: 127,  # ARPHRD_IEEE80211_RADIOTAP: LINKTYPE_IEEE802_11_RADIOTAP
}


@dataclass(frozen=True)
class Link:
    """One interface of this machine."""

    name: str
    index: int
    hardware: int  # ARPHRD_*
    bond: str | None  # the bond that it is a member of

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
        messages = [message async for message in await route.get_links()]
        default = await _default_index(route)
    names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in messages}
    bonds = {message["index"] for message in messages if _kind(message) == "bond"}
    links = {}
    for message in messages:
        master = message.get_attr("IFLA_MASTER")
        links[names[message["index"]]] = Link(
            name=names[message["index"]],
            index=message["index"],
            hardware=message["ifi_type"],
            bond=names[master] if master in bonds else None,
        )
    return Links(links, names.get(default))


def choose(config: Config, links: Links) -> list[Choice]:
    """What to capture: an exact name before a pattern before `@default`, each link once.

    Every entry is answered; one that means no interface now has no link.
    """
    taken: set[str] = set()
    choices: dict[int, list[Choice]] = {}
    entries = list(enumerate(config.interface))
    for kind in ("exact", "pattern", "default"):
        for position, entry in entries:
            if entry.name_kind != kind:
                continue
            matching = _matching(entry, links) - taken
            taken |= matching
            found = [Choice(entry, links.by_name[name]) for name in sorted(matching)]
            choices[position] = found or [Choice(entry, None)]
    return [choice for position, _ in entries for choice in choices[position]]


def speed(name: str) -> int | None:
    """Bits per second, or None where the driver does not say."""
    try:
        with open(f"/sys/class/net/{name}/speed") as text:
            megabits = int(text.read())
    except (OSError, ValueError):
        return None
    return megabits * 10**6 if megabits > 0 else None


def merging_offloads(name: str) -> list[str]:
    """The offloads in use that merge frames before capd sees them: of `gro` and `lro`."""
    try:
        features = Ethtool().get_features(name).features
    except (EthtoolError, OSError):
        return []
    wanted = {"rx-gro": "gro", "rx-lro": "lro"}
    return [wanted[key] for key in wanted if key in features and features[key].enable]


def watch() -> socket.socket:
    """A socket that becomes readable when a link or a route changes."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    sock.bind((0, RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE))
    return sock


def _matching(entry: Interface, links: Links) -> set[str]:
    if entry.name_kind == "default":
        return {links.default} if links.default else set()
    if entry.name_kind == "exact":
        return {entry.name} & links.by_name.keys()
    return {name for name in links.by_name if fnmatchcase(name, entry.name)}


async def _default_index(route: AsyncIPRoute) -> int | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        routes = [
            (message.get_attr("RTA_PRIORITY") or 0, message.get_attr("RTA_OIF"))
            async for message in await route.get_default_routes(family=family)
            if message.get_attr("RTA_OIF")
        ]
        if routes:
            return int(min(routes)[1])
    return None


def _kind(message: object) -> str | None:
    info = message.get_attr("IFLA_LINKINFO")  # type: ignore[attr-defined]
    return info.get_attr("IFLA_INFO_KIND") if info else None
