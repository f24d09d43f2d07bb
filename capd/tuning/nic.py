"""The settings of a NIC, by the names that the config has for them, through pyroute2.

Each group is read and written whole; keys that a driver does not have are not in what is read.
Numbers are as the driver gives them, switches 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Self

from pyroute2.ethtool import Ethtool
from pyroute2.ethtool.ioctl import OFF_FLAG_DEF, EthtoolError, NoSuchDevice, NotSupportedError

from capd.errors import TuningError

# the config's names -> those of struct ethtool_coalesce, <linux/ethtool.h>
_COALESCE = {
    "adaptive_rx": "use_adaptive_rx_coalesce",
    "rx_usecs": "rx_coalesce_usecs",
    "rx_frames": "rx_max_coalesced_frames",
    "rx_usecs_irq": "rx_coalesce_usecs_irq",
    "rx_frames_irq": "rx_max_coalesced_frames_irq",
}
_CHANNELS = ("combined", "rx")
_NO_SETTING = "its driver has no such setting, or does not let it be changed"

Settings = dict[str, int]


class Nics:
    """All interfaces of this network namespace."""

    def __init__(self, ethtool: Ethtool | None = None) -> None:
        """`ethtool`: another way to them than this machine's."""
        self._ethtool = ethtool or Ethtool()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ethtool.close()

    def read(self, group: str, name: str) -> Settings:
        """Of an interface.  TuningError where its driver has none."""
        readers: dict[str, Callable[[str], Settings]] = {
            "ring": self._ring,
            "coalesce": self._coalesce,
            "channels": self._channels,
            "offloads": self._offloads,
        }
        with _refusals():
            return readers[group](name)

    def most(self, group: str, name: str) -> Settings:
        """The driver's maximum of those settings of a group that have one."""
        with _refusals():
            if group == "ring":
                return _present({"rx": self._ethtool.get_rings(name).rx_max})
            if group == "channels":
                channels = self._ethtool.get_channels(name)
                return _present({key: getattr(channels, f"max_{key}") for key in _CHANNELS})
        return {}

    def write(self, group: str, name: str, values: Mapping[str, int]) -> None:
        """TuningError: the driver does not take them; some may be in force all the same."""
        with _refusals():
            if group == "ring":
                self._ethtool.set_rings(name, **values)
            elif group == "coalesce":
                raw = {_COALESCE[key]: value for key, value in values.items()}
                self._ethtool.set_coalesce(name, raw)
            elif group == "channels":
                raw = {f"{key}_count": value for key, value in values.items()}
                self._ethtool.set_channels(name, raw)
            else:
                features = self._ethtool.get_features(name)
                for key, value in values.items():
                    features.features[key].enable = bool(value)
                self._ethtool.set_features(name, features)

    def features(self, name: str, offload: str) -> list[str]:
        """The kernel's names of those features that an `ethtool -K` name is of and that can change.

        TuningError if there is none.
        """
        with _refusals():
            found = self._ethtool.get_features(name).features
        pattern = _kernel_name(offload)
        fitting = [one for one in found.values() if fnmatchcase(one.name, pattern)]
        if not fitting:
            raise TuningError("the kernel has no such feature; `ethtool -k` lists them")
        changeable = [one.name for one in fitting if one.available]
        if not changeable and len({one.enable for one in fitting}) == 1:
            return [one.name for one in fitting]  # as it is: it may be as it should be
        return changeable

    def _ring(self, name: str) -> Settings:
        return _present({"rx": self._ethtool.get_rings(name).rx})

    def _coalesce(self, name: str) -> Settings:
        raw = self._ethtool.get_coalesce(name)
        return {key: raw[theirs] for key, theirs in _COALESCE.items()}

    def _channels(self, name: str) -> Settings:
        channels = self._ethtool.get_channels(name)
        found = {
            key: (getattr(channels, f"{key}_count"), getattr(channels, f"max_{key}"))
            for key in _CHANNELS
        }
        return {key: count for key, (count, most) in found.items() if most}

    def _offloads(self, name: str) -> Settings:
        features = self._ethtool.get_features(name).features
        return {key: int(feature.enable) for key, feature in features.items()}


def _present(values: Mapping[str, int | None]) -> Settings:
    return {key: value for key, value in values.items() if value}


def _kernel_name(offload: str) -> str:
    """The feature, or the pattern of features, that this name means to ethtool."""
    for flag in OFF_FLAG_DEF:
        if offload in (flag.short_name, flag.long_name):
            return str(flag.kernel_name)
    return offload


@contextmanager
def _refusals() -> Iterator[None]:
    """What goes wrong, as TuningError in words."""
    try:
        yield
    except NoSuchDevice as error:
        raise TuningError("there is no such interface any more") from error
    except NotSupportedError as error:
        raise TuningError(_NO_SETTING) from error
    except OSError as error:
        raise TuningError(f"{error.strerror or error}") from error
    except (EthtoolError, UnicodeEncodeError) as error:
        raise TuningError(f"it cannot be asked: {error}") from error
