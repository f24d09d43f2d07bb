"""Capabilities that a process of capd's is to do without.

The daemon has CAP_NET_RAW from systemd, as an ambient capability, and what it starts gets that too.
Workers may have it: they have rings, which are as good.  And who has less than they can look into
neither them nor the daemon (ptrace(2), "Ptrace access mode checking"): so what reads and unpacks
files has none.  It could not give it up itself, as the unit refuses capset().
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# <linux/prctl.h>, <linux/capability.h>
_PR_CAP_AMBIENT = 47
_IS_SET, _RAISE, _LOWER = 1, 2, 3
_CAP_NET_RAW = 13


@contextmanager
def withheld() -> Iterator[None]:
    """What this thread starts meanwhile has no CAP_NET_RAW, if it is not root's.  OSError."""
    had = _ambient(_IS_SET)
    if had:
        _ambient(_LOWER)
    try:
        yield
    finally:
        if had:
            _ambient(_RAISE)


def _ambient(what: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = (ctypes.c_ulong(each) for each in (what, _CAP_NET_RAW, 0, 0))
    result = int(libc.prctl(_PR_CAP_AMBIENT, *words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
    return result
