"""The daemon's status, put together from its rings; and publishing it."""

from __future__ import annotations

import os
import time

from capd import __version__
from capd import status as statuses
from capd.daemon.lookout import Lookout
from capd.daemon.recording import Recording
from capd.daemon.rings import Rings
from capd.daemon.upkeep import Upkeep
from capd.messages import Counters
from capd.runtime import RuntimeDirectory
from capd.status import RingStatus, Status


class Overview:
    """What there is to know of this daemon; the service fills in what rings do not tell."""

    def __init__(self, config: str, rings: Rings, lookout: Lookout, upkeep: Upkeep) -> None:
        self.state = "starting"
        self.trouble: str | None = None
        self.waiting: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._config = config
        self._rings = rings
        self._lookout = lookout
        self._upkeep = upkeep
        self._started_at = time.time_ns()
        self.latest: Status | None = None  # as published last
        self._before: dict[int, tuple[float, Counters]] = {}  # by the moment of a ring's birth

    @property
    def tells_outages(self) -> bool:
        """Whether all that gives no packets now stands in the status file, and nothing else."""
        return self.latest is not None and self.latest.out == self._lookout.ledger.out

    def publish(self, runtime: RuntimeDirectory) -> str:
        """Write the status file; gives the status in one line."""
        self.latest = self._status()
        statuses.write(runtime.status, self.latest)
        return statuses.line(self.latest)

    def _status(self) -> Status:
        """As it is now; rates are since the call before."""
        recordings = self._rings.all
        rings = [self._ring(one) for one in recordings]
        self._before = {one.kept.born: (time.monotonic(), one.counters) for one in recordings}
        return Status(
            version=__version__,
            pid=os.getpid(),
            config=self._config,
            started_at=self._started_at,
            written_at=time.time_ns(),
            state=self.state,
            trouble=self.trouble,
            rings=rings,
            waiting=self.waiting,
            refused=self.refused,
            losses=list(self._lookout.ledger.losses),
            untold=self._lookout.ledger.untold,
            alerts=self._lookout.alerts,
            disk=self._upkeep.disk,
            archive=self._upkeep.archive,
            second_disk=self._upkeep.second_disk,
            holds=self._upkeep.holds,
            hook=self._upkeep.hook,
            out=self._lookout.ledger.out,
            nics=self._lookout.monitor.nics,
            backlog=self._lookout.monitor.backlog,
        )

    def _ring(self, recording: Recording) -> RingStatus:
        report, counters = recording.report, recording.counters
        plan, source = recording.wanted.plan, recording.wanted.plan.source
        recent, now = recording.gauge.recent, time.monotonic()
        then, earlier = self._before.get(recording.kept.born, (now - 1, counters))
        span = max(now - then, 0.001)
        return RingStatus(
            ring=recording.name,
            interface=source.interface,
            link=self._lookout.ledger.link(source.interface),
            phase=recording.phase.name.lower(),
            worker=recording.worker,
            filter=source.filter,
            filter_since=source.filter_since or recording.kept.born,
            directory=plan.directory,
            ring_bytes=plan.geometry.size,
            filled=report.filled if report else 0.0,
            segment=report.segment if report else None,
            segment_bytes=report.segment_bytes if report else 0,
            since=recording.kept.born,
            deaths=recording.deaths,
            last_pause_ms=recording.last_pause_ms,
            packets_per_second=max(0, counters.written - earlier.written) / span,
            bits_per_second=max(0, counters.bytes - earlier.bytes) * 8 / span,
            counters=counters,
            high_water=recent.high_water,
            late=recording.gauge.late,
            writes=recording.gauge.writes,
            write_p50=recent.p50,
            write_p99=recent.p99,
            write_max=recent.slowest,
            flush_interval=plan.geometry.retire_ms * 10**6,
            reported_at=report.at if report else 0,
        )
