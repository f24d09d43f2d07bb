"""What a setting does for capture on this machine, in one sentence: mostly nothing.

Pure, but for `traits`.  The facts are those of the kernel: packet_set_ring() asks for no socket
buffer; enqueue_to_backlog() has the backlog's limit, and only RPS and devices without NAPI come
there; packet taps come before the protocols (__netif_receive_skb_core), and on the way out before
the device cuts and completes a packet (dev_queue_xmit_nit).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from capd.tuning.targets import Target, Value

_NOTHING = "nothing that capd knows of"
_MERGED = "packets are merged before capd sees them: off for frames as they were on the wire"
_UNMERGED = "packets come as they were on the wire"
_SPARE = "how much the kernel takes from NICs in one go: more of it where time squeezes grow"

_SYSCTLS = {
    "net.core.rmem_max": "nothing: a ring is mapped memory, which no socket buffer limits",
    "net.core.rmem_default": "nothing: a ring is mapped memory, which no socket buffer limits; "
    "but every other socket of this machine gets it",
    "net.core.wmem_max": "nothing: it is about sending",
    "net.core.wmem_default": "nothing: it is about sending",
    "net.core.netdev_budget": _SPARE,
    "net.core.netdev_budget_usecs": _SPARE,
    "net.core.dev_weight": _SPARE,
    "net.core.bpf_jit_enable": "1: filters run as machine code; 0 costs time for every packet",
}
_GROUPS = {
    "ring": "what the NIC holds until a processor comes: more of it where rx_missed_errors grows",
    "coalesce": "fewer interrupts cost less time; too few, and the NIC's ring overflows meanwhile",
    "channels": "queues, and so processors, that take packets from the NIC at the same time",
}
# By the beginnings of the kernel's names.
_FEATURES = (
    ("rx-checksum", "nothing: packets are recorded with the checksums that they came with"),
    ("rx-vlan-", "nothing: capd puts back the tag that the NIC takes out"),
    ("tx-vlan-", "nothing: capd puts in the tag that the NIC is to put in"),
    ("rx-fcs", "on: packets are recorded with their frame check sequence, four bytes more"),
    ("rx-all", "on: the NIC gives damaged frames too"),
    ("tx-checksum-", "on: what this machine sends is recorded before it has its checksums"),
)
_CUT_LATER = "on: what this machine sends is recorded before it is cut to the size of the link"


class Traits(NamedTuple):
    """What of an interface decides how its packets come."""

    name: str
    virtual: bool  # there is no device below it
    steered: bool  # its packets go to other processors (RPS)


def traits(name: str) -> Traits:
    """Of an interface of this network namespace, from sysfs."""
    folder = f"/sys/class/net/{name}"
    steered = False
    try:
        for queue in os.listdir(f"{folder}/queues"):
            if queue.startswith("rx-"):
                with open(f"{folder}/queues/{queue}/rps_cpus", encoding="ascii") as file:
                    steered |= int(file.read().replace(",", ""), 16) != 0
    except (OSError, ValueError):  # it is gone, or the kernel has no RPS
        steered = False
    return Traits(name, not os.path.exists(f"{folder}/device"), steered)


def effect(target: Target, key: str, value: Value, captured: Iterable[Traits]) -> str:
    """Of a setting that has this value, while these are captured."""
    if target.kind == "sysctl":
        return _sysctl(target.name, captured)
    if target.kind == "offloads":
        return _feature(key, on=bool(value))
    return _GROUPS[target.kind]


def _sysctl(name: str, captured: Iterable[Traits]) -> str:
    if name == "net.core.netdev_max_backlog":
        return _backlog(tuple(captured))
    if name in _SYSCTLS:
        return _SYSCTLS[name]
    if name.startswith("net.core."):
        return _NOTHING
    return "nothing: packets are recorded before the protocols see them"


def _backlog(captured: tuple[Traits, ...]) -> str:
    steered = [one.name for one in captured if one.steered]
    virtual = [one.name for one in captured if one.virtual and not one.steered]
    if steered:
        return (
            f"how many packets wait at each processor: those of {', '.join(steered)} do, because "
            "of RPS"
        )
    if virtual:
        return (
            f"how many packets wait at each processor: those of {', '.join(virtual)} may, having "
            "no device of their own"
        )
    return "nothing: only packets steered by RPS or without a device wait there, and none here are"


def _feature(name: str, *, on: bool) -> str:
    if name.startswith(("rx-gro", "rx-lro", "rx-udp-gro")):
        return _MERGED if on else _UNMERGED
    for beginning, text in _FEATURES:
        if name.startswith(beginning):
            return text
    if name.startswith("tx-") and "segmentation" in name:
        return _CUT_LATER
    return _NOTHING
