"""Filters: every primitive of pcap-filter(7) that capd takes on Ethernet, and how they combine.

They ask for what `mixed` has in it.  Left out, because libpcap or the kernel refuses them
there: host names and `gateway`, `ip broadcast` (no netmask is known), `protochain` (its loop
is not for the kernel), some of `vlan` or `not geneve` before a tunnel (libpcap reads there what
it never stored), and the primitives of other links and of other systems' firewalls.  Also
byte offsets that wrap to before the header they count from: `ip[len - 15]` is the frame's
byte 13 where an IP frame ends with its Ethernet header, for the kernel; libpcap finds nothing.
"""

from __future__ import annotations

import re
from itertools import product

_V4, _V4_OTHER, _V6 = "10.1.2.3", "192.168.5.6", "2001:db8::1"
_ENDS = ("", "src ", "dst ", "src or dst ", "src and dst ")

_HOSTS = (
    *(f"{ends}host {address}" for ends, address in product(_ENDS, (_V4, _V6))),
    *(f"{kind} {ends}host {_V4}" for kind in ("ip", "arp", "rarp") for ends in _ENDS[:3]),
    *(f"ip6 {ends}host {_V6}" for ends in _ENDS[:3]),
    *("host 10.1.2.3 and host 192.168.5.6", "host 10.1.2.3 or 192.168.5.6", "src 10.200.0.1"),
    *("host 255.255.255.255", "dst host ff02::1", "host 10.99.99.99", "not host 10.1.2.3"),
    *("host ::", "ip host 0.0.0.0", "host 10.1.2.3 and not host 10.1.2.200"),
)
_NETS = (
    *(f"{ends}net 10.1.0.0/16" for ends in _ENDS),
    *(f"{ends}net 2001:db8::/32" for ends in _ENDS),
    *("net 10", "net 10.1", "net 192.168.5", "net 10.1.2.3", "net 0.0.0.0/0", "ip6 net ::/0"),
    *("net 10.0.0.0 mask 255.0.0.0", "net 10.1.2.0 mask 255.255.255.0", "net 10.1.2.0/25"),
    *("arp net 10.1.0.0/16", "ip6 net 2001:db8::/64", "net 2001:db8:0:5::/64", "net fe80::/10"),
    *("net ff00::/8", "src net 192.168.0.0/16 and dst net 10.0.0.0/8", "net 10.200.0.0/15"),
    *("not net 10.0.0.0/8 and ip", "net 2001:db8::/33 or net 192.0.0.0/3"),
)
_PORTS = (
    *(f"{ends}port 53" for ends in _ENDS),
    *(f"{ends}portrange 1023-1024" for ends in _ENDS),
    *(f"{kind} {ends}port 443" for kind in ("tcp", "udp", "sctp") for ends in _ENDS[:3]),
    *(f"{kind} {ends}portrange 40000-65535" for kind in ("tcp", "udp") for ends in _ENDS[:3]),
    *("port domain", "tcp port https", "udp port 4789", "port 0", "port 65535", "port 12345"),
    *("port 22 or 443", "port 22 or port 443 and udp", "not port 53", "portrange 0-1023"),
    *("udp and port 53 and not port 22", "portrange 22-22", "dst port 443 or dst port 22"),
    *("tcp and not port 443", "ip6 and port 443", "ip and tcp and src port 22"),
)
_ETHER = (
    *(f"ether {ends}host 02:00:00:00:00:0a" for ends in _ENDS[:3]),
    *("ether src 02-00-00-00-00-0b", "ether dst ff:ff:ff:ff:ff:ff", "ether broadcast"),
    *("ether multicast", "broadcast", "multicast", "ip multicast", "ip6 multicast"),
    *("not broadcast and not multicast", "not ether host 02:00:00:00:00:0a", "ether[0] & 1 = 0"),
    *("ether dst 01:80:c2:00:00:00", "ether host 02:00:00:00:00:0a and ip6"),
    *("ether proto 0x0800", r"ether proto \ip", r"ether proto \ip6", r"ether proto \arp"),
    *(r"ether proto \rarp", "ether proto 0x88cc", "ether proto 0x8100", "ether proto 0x9000"),
    *("ether proto 1500", "ether proto 42", r"ether proto \iso", r"ether proto \stp"),
    *(r"ether proto \ipx", "ether proto 0xaaaa", "ether proto 0", "ether proto 1536"),
    *("ether proto 0x88a8", "ether proto 0x8864", "ether proto 0x8847", "not ether proto 0x0800"),
)
_PROTOCOLS = (
    *("ip", "ip6", "arp", "rarp", "icmp", "icmp6", "igmp", "igrp", "pim", "ah", "esp", "vrrp"),
    *("carp", "udp", "tcp", "sctp", "not ip", "not ip6", "not arp", "ip or ip6", "arp or rarp"),
    *("ip proto 47", r"ip proto \tcp", r"ip proto \udp", r"ip proto \icmp", r"ip proto \esp"),
    *("ip proto 89", "ip proto 255", "ip proto 4", "ip proto 41", r"ip proto \pim", "ip proto 51"),
    *("ip6 proto 6", r"ip6 proto \udp", "ip6 proto 44", "ip6 proto 0"),
    *("ip6 proto 43", "ip6 proto 60", "ip6 proto 58", r"ip6 proto \ah", "ip6 proto 17"),
    *(r"proto \tcp", r"proto \udp", "proto 17", r"proto \sctp", "proto 1", "proto 58", "proto 50"),
    *("ip and not udp", "ip6 and not (tcp or udp)", "tcp or udp or sctp", "not (tcp or udp)"),
    *("ip and udp or arp", "arp or ip6 and udp", "(arp or ip6) and not udp", "not tcp and ip6"),
    *("igmp or pim or vrrp", "ip proto 6 or ip6 proto 17", "icmp or icmp6", "not icmp and ip"),
)
_LINKS = (
    *("atalk", "aarp", "decnet", "iso", "stp", "ipx", "netbeui", "lat", "moprc", "mopdl", "sca"),
    *("decnet src 10.15", "decnet dst 10.15", "decnet host 10.15", "llc"),
    *("llc i", "llc s", "llc u", "llc rr", "llc rnr", "llc rej", "llc ui", "llc ua", "llc disc"),
    *("llc sabme", "llc test", "llc xid", "llc frmr", "not llc", "llc and not stp"),
    *("iso proto 0x82", r"iso proto \clnp", "clnp", "esis", "isis", r"iso proto \isis", "l1"),
    *("l2", "iih", "lsp", "snp", "csnp", "psnp", "isis proto 16", "isis and not lsp"),
    *("ipx or netbeui or stp", "not iso and llc", "atalk or aarp", "llc u and ether multicast"),
)
_LENGTHS = (
    *("less 60", "greater 60", "less 59", "greater 61", "less 64", "greater 64", "less 128"),
    *("greater 128", "less 1500", "greater 1500", "greater 1514", "less 14", "less 18"),
    *("len = 64", "len > 64 and len <= 128", "len != 60", "len >= 1024", "len < 20", "len & 1 = 0"),
    *("greater 100 and udp", "not greater 100 and not less 60", "len - 14 > 500", "less 1514"),
)
_ARITHMETIC = (
    *("ether[12:2] = 0x0800", "ether[12:2] > 1500", "ether[12] = 8", "ether[0:4] = 0x02000000"),
    *(
        "ether[8:4] & 0xff = 0x0b",
        "ip[0] & 0xf != 5",
        "ip[0] & 0xf > 5",
        "ip[8] < 64",
        "ip[9] = 17",
    ),
    *("ip[6:2] & 0x1fff = 0", "ip[6:2] & 0x1fff != 0", "ip[6] & 0x20 != 0", "ip[6] & 0x40 = 0x40"),
    *(
        "ip[6:2] & 0x3fff = 0x2000",
        "ip[12:4] = 0x0a010203",
        "ip[16] >= 224",
        "(ip[1] & 0xfc) >> 2 = 46",
    ),
    *(
        "ip[2:2] > 576",
        "ip[2:2] + 14 = len",
        "len - ip[2:2] != 14",
        "ip[4:2] % 3 = 1",
        "ip[8] * 2 = 128",
    ),
    *(
        "ip[8] / 2 = 32",
        "ip[8] ^ 64 = 0",
        "ip[8] | 1 = 65",
        "(ip[8] << 1) = 128",
        "ip[2:2] >> 8 = 2",
    ),
    *("ip[2:2] - ((ip[0] & 0xf) << 2) >= 100", "-ip[8] = -64", "ip[8] % 2 = 0 or ip[9] = 1"),
    *(
        "1 = ip[9]",
        "ip[12:2] = ip[16:2]",
        "ip[0:4] & 0xff0000 != 0",
        "ip[len - 15] = 0 and greater 15",
    ),
    *("ip6[6] = 17", "ip6[7] < 64", "ip6[4:2] > 64", "ip6[8:4] = 0x20010db8", "ip6[40] = 6"),
    *(
        "ip6[6] = 44 and ip6[42:2] & 0xfff8 != 0",
        "ip6[6] = 44 and ip6[40] = 17",
        "ip6[0] & 0xf != 0",
    ),
    *(
        "tcp[tcpflags] & tcp-syn != 0",
        "tcp[tcpflags] = tcp-syn|tcp-ack",
        "tcp[tcpflags] & tcp-rst != 0",
    ),
    *("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src net 10.1.0.0/16", "tcp[13] = 2"),
    *("tcp[tcpflags] & tcp-push != 0", "tcp[tcpflags] & (tcp-urg|tcp-ece|tcp-cwr) != 0"),
    *("tcp[0:2] > 1023", "tcp[12] & 0xf0 > 0x50", "tcp[4:4] & 1 = 1", "tcp[14:2] = 0x2000"),
    *("tcp port 443 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",),
    *(
        "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
        "udp[4:2] > 100",
        "udp[0:2] = 53",
        "udp[8] = 0",
    ),
    *(
        "udp[udp[4:2] - 1] = 0",
        "udp[6:2] = 0 and udp[2:2] != 53",
        "sctp[0:2] = 443",
        "sctp[12] = 1",
    ),
    *(
        "icmp[icmptype] = icmp-echo",
        "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply",
    ),
    *("icmp[icmptype] = icmp-unreach and icmp[icmpcode] = 3", "icmp[icmptype] = icmp-timxceed"),
    *("icmp[0] = icmp-redirect or icmp[0] = icmp-tstamp", "icmp[icmptype] < icmp-unreach"),
    *(
        "icmp6[icmp6type] = icmp6-echo",
        "icmp6[icmp6type] = icmp6-neighborsolicit",
        "icmp6[0] = 135",
    ),
    *("icmp6[icmp6type] >= icmp6-routersolicit", "icmp6[icmp6code] = 0", "igmp[0] = 0x16"),
    *(
        "arp[6:2] = 1",
        "arp[7] = 2",
        "arp[14:4] = 0x0a010203",
        "rarp[6:2] = 3",
    ),
    *("pim[0] & 0xf = 0", "vrrp[1] = 7", "ether[200] = 0", "ip[1499] = 0", "ether[1513] != 1"),
    *("ether[len - 1] = 0", "ip[ip[9]] = 0", "ether[ether[14]:2] = 0", "igrp[0] = 0x11"),
)
_INSIDE = (
    *(
        "mpls",
        "mpls 100",
        "mpls 16",
        "mpls 100 and mpls 200",
        "mpls and ip",
        "mpls and host 10.1.2.3",
    ),
    *(
        "mpls 100 and tcp port 443",
        "mpls and mpls and ip6",
        "ether proto 0x8847 and not ip",
        "mpls 99",
    ),
    *("pppoed", "pppoes", "pppoes 1", "pppoes 7", "pppoes and ip", "pppoes and ip6", "not pppoed"),
    *("pppoes and host 10.1.2.3", "pppoes 1 and tcp port 443", "pppoes and udp", "pppoes 99"),
    *("geneve", "geneve 5", "geneve 6", "geneve and ip", "geneve 5 and host 10.1.2.3"),
    *(
        "geneve and tcp port 443",
        "geneve and vlan",
        "geneve and arp",
    ),
    *("geneve and ip6", "geneve 5 and ip[9] = 17", "udp port 4789 and udp[8:4] = 0x08000000"),
)
_TAGS = (
    *("vlan", "vlan 0", "vlan 5", "vlan 101", "vlan 4095", "vlan 99", "not vlan", "not vlan 5"),
    *(
        "vlan and ip",
        "vlan 5 and ip",
        "ip and vlan 5",
        "udp port 53 and vlan 5",
        "vlan 5 and udp port 53",
    ),
    *("vlan and vlan", "vlan 101 and vlan 42", "vlan 5 and vlan 5", "vlan and vlan 42 and ip"),
    *(
        "vlan and vlan and udp",
        "vlan and not vlan",
        "vlan 5 or vlan 101",
        "vlan or ip",
        "ip or vlan",
    ),
    *(
        "vlan and (ip or ip6)",
        "not vlan and tcp",
        "not (vlan or ip)",
        "vlan and arp",
        "vlan and ip6",
    ),
    *("vlan and host 10.1.2.3", "host 10.1.2.3 and vlan", "vlan and tcp[tcpflags] & tcp-syn != 0"),
    *(
        "vlan and ip[6:2] & 0x1fff != 0",
        "vlan and mpls",
        "vlan and mpls 100 and ip",
    ),
    *(
        "vlan and ether multicast",
        "vlan and llc",
        "vlan and stp",
    ),
    *(
        "vlan and less 60",
        "vlan 5 and greater 64",
        "vlan and ether[12:2] = 0x0800",
        "vlan and not ip",
    ),
    *(
        "vlan and ether[14:2] & 0xe000 != 0",
        "vlan and ether host 02:00:00:00:00:0a",
        "vlan and net 10.0.0.0/8",
    ),
    *(
        "vlan 5 and (port 53 or port 443)",
        "tcp or (vlan 5 and udp)",
        "vlan and vlan and vlan",
        "arp or (vlan and arp)",
    ),
    *(
        "(vlan 5 and tcp) or (vlan 101 and udp)",
        "not (vlan 5 and tcp)",
        "vlan and icmp6",
        "less 64 and vlan",
    ),
)
_DIRECTIONS = (
    *("inbound", "outbound", "not inbound", "not outbound", "inbound and tcp", "outbound and udp"),
    *("outbound or port 53", "inbound and vlan", "outbound and vlan 5", "outbound and not ip"),
    *("outbound and host 10.1.2.3", "inbound and not vlan and ip6", "inbound and less 60"),
)
_COMBINED = (
    *("tcp or udp and port 53", "(tcp or udp) and port 53", "not tcp and not udp or port 53"),
    *("not (host 10.1.2.3 and port 53)", "not host 10.1.2.3 and 192.168.5.6", "not not ip"),
    *("host 10.1.2.3 && !port 53 || arp", "ip and (udp or (tcp and (port 22 or port 443)))"),
    *(
        "host 10.1.2.3 and (port 443 or tcp[13] & 2 != 0)",
        "port 53 or 443 or 22",
        "arp and less 60",
    ),
    *(
        "host (10.1.2.3 or 10.1.2.200) and port (53 or 443)",
        "src host 10.1.2.3 and dst port (53 or 443)",
    ),
    *("udp port 53 and host (10.1.2.3 or 2001:db8::1)", "ip host 10.1.2.3 or ip6 host 2001:db8::1"),
    *("not (ip or ip6 or arp or rarp)", "ip and not (tcp or udp or icmp)", "1 = 1", "0 = 0 and ip"),
    *("ip6 and tcp and (src port 443 or dst port 443) and not net 2001:db9::/32", ""),
    *("((((ip))))", "tcp and (tcp) and ((tcp))", "ip and greater 100 and less 600 and not udp"),
    " or ".join(f"host 10.{i // 16}.{i % 16}.3" for i in range(60)),
    " or ".join(f"port {port}" for port in range(22, 1100, 11)),
    "not (" + " or ".join(f"udp port {port}" for port in range(40, 60)) + ")",
    "ip and (" + " or ".join(f"net 10.{i}.0.0/16" for i in range(1, 240, 7)) + ")",
)

FILTERS = tuple(
    dict.fromkeys(
        (
            *(_HOSTS + _NETS + _PORTS + _ETHER + _PROTOCOLS + _LINKS + _LENGTHS + _ARITHMETIC),
            *(_INSIDE + _TAGS + _DIRECTIONS + _COMBINED),
        )
    )
)
"""Each once."""


def asks_for_a_tag(text: str) -> bool:
    """Whether it speaks of VLAN tags: those that libpcap looks for elsewhere in a stored packet."""
    return re.search(r"\bvlan\b", text) is not None


def asks_for_direction(text: str) -> bool:
    """Whether it speaks of the direction, which libpcap knows of live Ethernet only."""
    return re.search(r"\b(in|out)bound\b", text) is not None
