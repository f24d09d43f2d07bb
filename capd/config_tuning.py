"""The config's [tuning] tables: what the kernel and NICs are to be set to.

Only what a key names is ever touched.  Whether a driver has the setting, and how far it goes, is
for `capd tune` to find out.  Names are those of sysctl(8) and of `ethtool -G`, `-C`, `-L`, `-K`,
where TOML wants `_` for `-`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from capd.config_values import Table
from capd.units import shown

# The greatest number that ethtool takes; a driver's own maximum is less.
MOST = 2**32 - 1

_SYSCTL = re.compile(r"net(?:[./][A-Za-z0-9_@:+-]+(?:[./][A-Za-z0-9_@:+-]+)*)")
_OFFLOAD = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NAME_LENGTH = 200
_VALUE_LENGTH = 1000


def _entries(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is not a table: write {{ name = value }}")
    return value


def _sysctls(value: object) -> tuple[tuple[str, str], ...]:
    entries = _entries(value)
    for name, content in entries.items():
        if isinstance(content, dict):
            raise ValueError(f'put the whole name in quotes, as in "{name}.core.rmem_max" = 1')
        if len(name) > _NAME_LENGTH or not _SYSCTL.fullmatch(name):
            raise ValueError(f'{shown(name)} is not the name of a sysctl below "net."')
        if isinstance(content, bool) or not isinstance(content, int | str):
            raise ValueError(f"{name}: {shown(content)} is neither a whole number nor text")
        text = str(content)
        if (
            not text.strip()
            or len(text) > _VALUE_LENGTH
            or not text.replace("\t", " ").isprintable()
        ):
            raise ValueError(f"{name}: {shown(content)} is not one line of text")
    return tuple((name, " ".join(str(content).split())) for name, content in entries.items())


def _offloads(value: object) -> tuple[tuple[str, bool], ...]:
    entries = _entries(value)
    found = []
    for name, content in entries.items():
        if not _OFFLOAD.fullmatch(name):
            raise ValueError(f"{shown(name)} is not a name that `ethtool -K` takes")
        if not isinstance(content, bool):
            raise ValueError(f"{name}: {shown(content)} is neither true nor false")
        found.append((name, content))
    return tuple(found)


def _count(value: object) -> int:
    if value == "max":
        return MOST
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MOST:
        raise ValueError(f'{shown(value)} is neither a number above 0 nor "max"')
    return value


# How many of something; MOST: as many as there can be.
Count = Annotated[int, BeforeValidator(_count)]
_Coalesced = Annotated[int, Field(ge=0, lt=MOST)]


class Coalesce(Table):
    """How long a NIC waits, for more packets, before it interrupts (`ethtool -C`)."""

    adaptive_rx: bool | None = None
    rx_usecs: _Coalesced | None = None
    rx_frames: _Coalesced | None = None
    rx_usecs_irq: _Coalesced | None = None
    rx_frames_irq: _Coalesced | None = None


class Channels(Table):
    """How many queues a NIC has, each with an interrupt (`ethtool -L`)."""

    combined: Count | None = None
    rx: Count | None = None


class InterfaceTuning(Table):
    """[interface.tuning]: of the NIC of one interface."""

    # descriptors (`ethtool -G IF rx N`)
    ring: Count | None = None
    coalesce: Coalesce = Coalesce()
    channels: Channels = Channels()
    # by the names that `ethtool -K` takes
    offloads: Annotated[tuple[tuple[str, bool], ...], BeforeValidator(_offloads)] = ()


class Tuning(InterfaceTuning):
    """[tuning]: of every interface that is captured, and of the kernel."""

    # names with the text that /proc/sys has
    sysctl: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_sysctls)] = ()
    # whether what may take a link down may do so to the one that this machine is reached by
    default_route: bool = False
