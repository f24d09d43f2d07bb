"""The queues between interfaces and sockets, one a processor: /proc/net/softnet_stat.

They are the machine's: whose packets a queue drops nobody counts.  Only what enters such a queue
can be dropped there: packets that RPS moves to another processor, and those of interfaces without
NAPI (enqueue_to_backlog of net/core/dev.c, Linux 6.12).

The columns by kernel (net/core/net-procfs.c): 9 once, 10 with RPS (2.6.36), 11 with the flow limit
(3.11), 13 with the length of the backlog and the processor's number (5.10), 15 with both queues'
lengths (6.10).  A row is an online processor's, so that without its number in the 13th nobody
knows which one it is.
"""

from __future__ import annotations

from typing import NamedTuple

from capd.daemon.totals import Totals
from capd.status import BacklogStatus, CpuBacklog

PATH = "/proc/net/softnet_stat"

_COUNTERS = {"processed": 0, "dropped": 1, "squeezed": 2, "received_rps": 9, "flow_limited": 10}
_CPU = 12


class Row(NamedTuple):
    """One processor: its number, and its counters by name; None: this kernel does not tell."""

    cpu: int | None
    counters: dict[str, int | None]


def parse(text: bytes) -> list[Row]:
    """The rows in the file; one that is not hexadecimal numbers is left out."""
    rows = []
    for line in text.splitlines():
        try:
            columns = [int(word, 16) for word in line.split()]
        except ValueError:
            continue
        if columns:
            counters = {
                name: columns[at] if at < len(columns) else None for name, at in _COUNTERS.items()
            }
            rows.append(Row(columns[_CPU] if len(columns) > _CPU else None, counters))
    return rows


def sums(text: bytes) -> tuple[int, int, int]:
    """Processed, dropped and squeezed over all processors: quicker than `parse`."""
    lines = [line.split(None, 3) for line in text.splitlines()]
    whole = [line for line in lines if len(line) > 3]
    processed, dropped, squeezed = (sum(int(line[at], 16) for line in whole) for at in range(3))
    return processed, dropped, squeezed


class Softnet:
    """All processors since they were first looked at."""

    def __init__(self) -> None:
        self._cpus: dict[int, Totals] = {}  # by number, or by row where the kernel tells none
        self._numbered = True
        self._online: list[int] = []
        self._known = False

    def feed(self, text: bytes | None) -> None:
        """What the file says now; None: it cannot be read."""
        rows = [] if text is None else parse(text)
        self._known = bool(rows)
        if not rows:
            return
        self._numbered = all(row.cpu is not None for row in rows)
        online = [at if row.cpu is None else row.cpu for at, row in enumerate(rows)]
        if not self._numbered and len(online) != len(self._online):
            self._cpus = {cpu: totals for cpu, totals in self._cpus.items() if cpu in online}
            for totals in self._cpus.values():  # a row is another processor's now
                totals.rebase()
        self._online = online
        for cpu, row in zip(online, rows, strict=True):
            self._cpus.setdefault(cpu, Totals()).feed(row.counters)

    @property
    def dropped(self) -> int:
        """Packets that all queues together have dropped, as far as anybody knows."""
        return sum(totals.total("dropped") for totals in self._cpus.values())

    @property
    def status(self) -> BacklogStatus:
        """What there is to know."""
        cpus = [
            CpuBacklog(cpu=cpu if self._numbered else None, **self._cpus[cpu].values)
            for cpu in self._online
        ]
        return BacklogStatus(self.dropped if self._known else None, cpus if self._known else [])
