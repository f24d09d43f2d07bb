"""What can be asked of a sketch: questions are values, those that ask the same are equal.

This module owns how a question is put; the answers are `sketch.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from capd.sketch import Sketch, network_keys


class Question(NamedTuple):
    """One thing that a sketch can deny."""

    ask: Callable[..., bool]  # with the sketch, and what it is about
    about: tuple[Hashable, ...] = ()

    def may_be(self, sketch: Sketch) -> bool:
        """Whether a packet may have it."""
        return self.ask(sketch, *self.about)


Asked = tuple[Question, ...]
"""A packet must have one of these."""

NOTHING: Asked = ()
"""Any packet will do."""
TAG: Asked = (Question(Sketch.may_hold_tag),)
FRAGMENT: Asked = (Question(Sketch.may_hold_fragment),)


def network(addresses: IPv4Network | IPv6Network) -> Asked:
    """One of them is source or destination; nothing is asked if they are too many."""
    keys = network_keys(addresses)
    return (Question(Sketch.may_hold_keys, (keys,)),) if keys else NOTHING


def ports(numbers: Iterable[int]) -> Asked:
    """One of them is a source or destination port of TCP, UDP or SCTP."""
    return _each(Sketch.may_hold_port, numbers)


def protocols(numbers: Iterable[int]) -> Asked:
    """One of them is a protocol of IP."""
    return _each(Sketch.may_hold_protocol, numbers)


def ethertypes(numbers: Iterable[int]) -> Asked:
    """One of them is an EtherType, wherever it stands."""
    return _each(Sketch.may_hold_ethertype, numbers)


def _each(ask: Callable[..., bool], numbers: Iterable[int]) -> Asked:
    return tuple(Question(ask, (number,)) for number in sorted(numbers))
