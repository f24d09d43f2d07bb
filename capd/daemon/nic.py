"""What an interface and its driver count, since somebody watches it.

The counters of rtnl_link_stats64 are read in sysfs, from files that stay open: 2 us for each, and
no lock.  rtnetlink gives the same numbers, but waits for whoever changes an interface, for seconds
when a NIC gets another ring; and pyroute2 takes 300 us to decode its answer, without rx_nohandler.
What only the driver counts is read by ioctl, which takes the lock: a thread waits for the answer,
and the next look has it.

Which of all these mean a loss is in `drivers`.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Executor, Future

from capd import descriptors
from capd.daemon import drivers
from capd.daemon.ethtool import Ethtool
from capd.daemon.totals import Totals
from capd.status import NicStatus

# <linux/if_link.h>, what concerns reception; sysfs has them by these names.
STATISTICS = (
    *("rx_packets", "rx_bytes", "rx_dropped", "rx_missed_errors", "rx_nohandler", "rx_errors"),
    *("rx_fifo_errors", "rx_over_errors", "rx_crc_errors", "rx_length_errors", "rx_frame_errors"),
)
OWN_EVERY = 10  # looks for each time that the driver's own counters are read

Counters = dict[str, int | None]  # by name; None: it cannot be read


class Nic:
    """One interface, by its index: one that comes back under its name is another."""

    def __init__(self, name: str, index: int, asker: Executor) -> None:
        """`asker`: who waits for the driver's own counters."""
        self.index = index
        self._asker = asker
        self._answer: Future[tuple[str | None, Counters]] | None = None
        self.name = name
        self._ethtool = Ethtool(name)
        self._driver = drivers.lookup(None)  # until it has answered
        self._totals = Totals(self._width)
        self._lost = 0
        self._own: Counters = {}
        self._looks = 0
        self._files = _open(name, index)

    def close(self) -> None:
        """Watch it no more."""
        for fd in self._files.values():
            os.close(fd)

    def look(self) -> int:
        """Read all counters; how many more packets it had no room for, as far as it tells."""
        self._files = self._files or _open(self.name, self.index)
        counters: Counters = {name: self.read(name) for name in STATISTICS}
        if counters["rx_packets"] is None:  # it is gone, and its name may be another's
            self._own = {}
        else:
            self._ask()
        self._looks += 1
        self._totals.feed(counters | self._own)
        before, self._lost = self._lost, max(self._lost, self.lost or 0)
        return self._lost - before

    def read(self, name: str) -> int | None:
        """One of STATISTICS as it is now."""
        fd = self._files.get(name)
        if fd is None:
            return None
        try:
            return int(os.pread(fd, 24, 0))
        except (OSError, ValueError):
            return None

    @property
    def lost(self) -> int | None:
        """Packets that it had no room for; None: its driver does not tell."""
        return self._driver.lost(self._totals.values)

    @property
    def total(self) -> int:
        """The same, as far as anybody has known."""
        return self._lost

    @property
    def at_most(self) -> bool:
        """Whether that is an upper bound."""
        return self._driver.at_most

    @property
    def advice(self) -> str:
        """What to change when it loses."""
        return self._driver.advice or 'ring = "max" below [tuning]'

    @property
    def status(self) -> NicStatus:
        """What there is to know."""
        return NicStatus(
            self.name,
            self._driver.name or None,
            self.lost,
            self._totals.values,
            self._driver.includes,
            self._driver.note,
            self._driver.at_most,
        )

    def _width(self, counter: str) -> int:
        return self._driver.width(counter)

    def _ask(self) -> None:
        """Take what the driver answered, and ask it again."""
        if self._answer is not None and self._answer.done():
            (driver, self._own), self._answer = self._answer.result(), None
            if driver != (self._driver.name or None):
                self._driver = drivers.lookup(driver)
        often = self._driver.asks_ethtool or not self._driver.name
        if self._answer is None and (often or self._looks % OWN_EVERY == 0):
            self._answer = self._asker.submit(self._inquire)

    def _inquire(self) -> tuple[str | None, Counters]:
        """The driver, and its own counters: those that `lost` needs and those worth showing."""
        name = self._driver.name or self._ethtool.driver()  # an index keeps its driver
        return name, self._picked(drivers.lookup(name))

    def _picked(self, driver: drivers.Driver) -> Counters:
        statistics = self._ethtool.statistics()
        if driver.asks_ethtool:
            return {**drivers.gathered(statistics)}
        worth = driver.detail(name.strip() for name, _ in statistics)
        return {**drivers.gathered(one for one in statistics if one[0].strip() in worth)}


def _open(name: str, index: int) -> dict[str, int]:
    """Its files in sysfs; none if sysfs shows another network namespace's interface there.

    Nor where only some can be opened now: the next look has all of them, or none again.
    """
    folder = f"/sys/class/net/{name}"
    try:
        with open(f"{folder}/ifindex") as text:
            if int(text.read()) != index:
                return {}
    except (OSError, ValueError):
        return {}
    files = {}
    try:
        for counter in STATISTICS:
            with contextlib.suppress(FileNotFoundError):  # an older kernel has not all of them
                path = f"{folder}/statistics/{counter}"
                files[counter] = descriptors.open_to_measure(path)
    except OSError:  # no descriptor is left
        for fd in files.values():
            os.close(fd)
        return {}
    return files
