"""The archive process takes what nobody else wants: processor time, and the disk's.

And it does not outlive the daemon.  Everything here holds for threads that start later.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

import psutil

_PR_SET_PDEATHSIG = 1
_NICEST = 19


def die_with_parent() -> None:
    """Be killed when the daemon is gone, however it went."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")


def yield_to_all() -> list[str]:
    """Take the idle classes; what was refused, and why."""
    refused = []
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError as error:
        refused.append(f"SCHED_IDLE: {error.strerror}")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICEST)
    except OSError as error:
        refused.append(f"nice {_NICEST}: {error.strerror}")
    try:
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    except (OSError, psutil.AccessDenied) as error:
        why = os.strerror(errno.EPERM) if isinstance(error, psutil.Error) else error.strerror
        refused.append(f"idle I/O class: {why}")
    return refused
