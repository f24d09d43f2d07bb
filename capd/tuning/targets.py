"""What can be set, and its words: sysctls, and the four groups of settings that a NIC has.

Pure.  A target is what is read and written in one go, because its values depend on each other:
coalescing by time must not be switched off before coalescing by frames is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from capd.config import Config
from capd.config_tuning import InterfaceTuning

Kind = Literal["sysctl", "ring", "coalesce", "channels", "offloads"]
Value = int | str  # text of a sysctl; a switch of a NIC is 0 or 1

SWITCHES = {"adaptive_rx"}

# For these, drivers stop a NIC and start it again: most of them for the first two (systemd#28696,
# nmstate#1759); ixgbe for LRO and rx-all (ixgbe_set_features), mlx5 for LRO, its own GRO and rx-fcs
# (mlx5e_safe_switch_params).
RESETTING_KINDS = {"ring", "channels"}
RESETTING_FEATURES = {"rx-lro", "rx-gro-hw", "rx-all", "rx-fcs"}


@dataclass(frozen=True)
class Target:
    """A sysctl by its name, or one group of settings of an interface."""

    kind: Kind
    name: str  # of the sysctl or of the interface
    index: int = 0  # of the interface: one that comes back under its name is another

    @property
    def identity(self) -> tuple[str, str | int]:
        """The same as long as it is the same thing, whatever an interface is called."""
        return self.kind, self.index or self.name

    @property
    def title(self) -> str:
        """In words, without its values."""
        return self.name if self.kind == "sysctl" else f"{self.name} {self.kind}"


class Wish(NamedTuple):
    """Values that a target should have; those of `sysctl` have the key ""."""

    target: Target
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Subject:
    """An interface that is captured, and what it is to be tuned to."""

    name: str
    index: int
    tuning: InterfaceTuning


def wishes(config: Config, subjects: list[Subject]) -> list[Wish]:
    """All that the config asks for, in the order in which it is applied."""
    found = [Wish(Target("sysctl", name), {"": text}) for name, text in config.tuning.sysctl]
    for subject in subjects:
        tuning = subject.tuning
        coalesce = tuning.coalesce.model_dump(exclude_none=True)
        groups: dict[Kind, dict[str, Value]] = {
            # first what may reset the others
            "channels": tuning.channels.model_dump(exclude_none=True),
            "ring": {} if tuning.ring is None else {"rx": tuning.ring},
            "coalesce": {key: int(value) for key, value in coalesce.items()},
            "offloads": {key: int(value) for key, value in tuning.offloads},
        }
        found += [
            Wish(Target(kind, subject.name, subject.index), one)
            for kind, one in groups.items()
            if one
        ]
    return found


def resets(target: Target, keys: set[str]) -> bool:
    """Whether many drivers take the link down when these are written."""
    return target.kind in RESETTING_KINDS or bool(keys & RESETTING_FEATURES)


def label(target: Target, key: str) -> str:
    """One value in words: `eth0 ring rx`."""
    return f"{target.title} {key}".rstrip()


def shown(target: Target, key: str, value: Value) -> str:
    """A value as people write it."""
    if target.kind == "offloads" or key in SWITCHES:
        return "on" if value else "off"
    return str(value)
