"""A clock that is believed from the beginning, as the daemon's is beside segments of today."""

from __future__ import annotations

import time

from capd.daemon.trusted_clock import TrustedClock


def believing() -> TrustedClock:
    """From now on."""
    now, trusted = time.time_ns(), TrustedClock()
    trusted.begin(now, time.clock_gettime_ns(time.CLOCK_BOOTTIME), [[now]])
    return trusted
