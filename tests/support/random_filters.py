"""Random filters of pcap-filter(7) about the things that headers.py puts into packets."""

from __future__ import annotations

import random

from tests.support import headers
from tests.support.headers import PORTS, TAGS, V4, V6

_NETWORKS = (
    *("10.0.0.0/8", "10.1.2.0/24", "10.1.2.192/26", "10.1.0.0/17", "192.0.0.0/3", "10.1.2.2/31"),
    *("2001:db8::/32", "2001:db8::/30", "2001:db8::/48", "2001:db8:0:5::/64", "2001:db8::/56"),
    *("2001:db8::/96", "fe80::/10", "2001:db8::/126", "ff00::/8", "8000::/1", "::/0"),
)
_PLAIN = (
    *("ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "atalk", "llc", "stp"),
    *("ip[6:2] & 0x3fff != 0", "ip[6:2] & 0x1fff = 0", "ip[6] & 0x20 != 0", "ip[0] & 0xf > 5"),
    *("tcp[13] & 2 != 0", "udp[2:2] = 443", "tcp[0:2] < 1024", "icmp[0] = 0", "ip[12] = 10"),
    *("ip[12:4] = 0x0a010203", "ip[12:2] = 0x0a01", "ip6[6] = 44", "ip6[6] = 0 and ip6[40] = 6"),
    *("ip6[8:4] = 0x20010db8", "ip6[40:2] = 53", "ip6[24:4] > 0xfe000000", "ip[9] < 18"),
    *("ether[12:2] = 0x800", "ether[26:4] = 0x0a010203", "ether[30:4] = 0x0a010203", "greater 60"),
    *("ether[12] = 8", "ether[14:2] = 5", "ip[20:2] = 53", "ip6[42:2] & 0xff00 = 0"),
    *("ether[ip[0] & 0xf] = 0", "ip multicast", "ether broadcast", "inbound", "outbound"),
)
_BEHIND = ("vlan", "vlan", "vlan 5", "vlan 0", "mpls", "mpls 100", "pppoes", "pppoes 1", "geneve")


def text(rng: random.Random, depth: int = 3) -> str:
    """One filter; not each of them is possible on each link, and some can match nothing."""
    kind = rng.random() if depth else 1
    if kind < 0.15:
        return f"not ({text(rng, depth - 1)})"
    if kind < 0.55:
        joined = rng.choice((" and ", " or "))
        return f"({joined.join(text(rng, depth - 1) for _ in range(rng.choice((2, 2, 3))))})"
    if kind < 0.7:
        return f"({rng.choice(_BEHIND)} and {text(rng, depth - 1)})"
    return _primitive(rng)


def _primitive(rng: random.Random) -> str:
    side = rng.choice(("", "", "src ", "dst ", "src and dst "))
    first = rng.choice(PORTS)
    protocol = rng.choice((*headers.PROTOCOLS, *headers.EXTENSIONS))
    made = (
        f"{side}net {rng.choice((*V4, *V6))}",
        f"{side}net {rng.choice(_NETWORKS)}",
        f"{rng.choice(('', 'tcp ', 'udp ', 'sctp '))}{side}port {first}",
        f"{side}portrange {first}-{first + rng.choice((0, 1, 9, 30, 2000))}",
        f"{rng.choice(('ip ', 'ip6 ', ''))}proto {protocol}",
        f"ether proto {rng.choice((0x0800, 0x86DD, 0x0806, 0x88B5, 0x42, *TAGS))}",
        f"{rng.choice(('arp', 'ip', 'rarp'))} {side}host {rng.choice(V4)}",
        rng.choice(_BEHIND),
        *(rng.choice(_PLAIN) for _ in range(3)),
    )
    return rng.choice(made)
