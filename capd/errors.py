"""The errors capd raises on purpose, one small tree.

    CapdError            the base; what the command line prints, exit code 1
    +-- ConfigError      a config cannot be used: every problem, each with its path; exit code 2
    +-- UsageError       words on the command line that cannot be meant; exit code 2
    +-- FilterError      libpcap refuses a filter; exit code 2
    |   +-- CompilerError    libpcap could not be asked; exit code 1
    +-- RingError        the kernel refuses a ring, or a ring does not look as it must
    +-- StorageError     a directory or a file cannot be used
    +-- TuningError      the kernel or a driver does not take a setting, or does not tell it
    +-- ListenError      an address that nobody can be served at
    +-- WorkerError      a worker or a helper process did not do what was asked of it

A message says what could not be done, to which object, and what to do about it.
Anything else that is raised is a bug in capd.
"""

from __future__ import annotations

import errno

NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))  # of a disk, whatever it says of free space


class CapdError(Exception):
    """What went wrong, in words for the person at the terminal."""

    exit_code = 1
    passing = True  # whether it may be otherwise the next time, as far as is known


class ConfigError(CapdError):
    """Everything that is wrong with one config file, or with what it needs, found in one go."""

    exit_code = 2

    def __init__(self, problems: tuple[str, ...], *, passing: bool = False) -> None:
        """`passing`: nothing of it is the file's fault, such as a disk that is not mounted yet."""
        super().__init__("\n".join(problems))
        self.problems = problems
        self.passing = passing


class UsageError(CapdError):
    """Words on the command line that cannot be meant."""

    exit_code = 2


class FilterError(CapdError):
    """A filter that libpcap does not accept, or that capd does not allow."""

    exit_code = 2


class CompilerError(FilterError):
    """A filter of which nothing is known, as the process that asks libpcap did not get through."""

    exit_code = 1


class RingError(CapdError):
    """A packet ring that cannot be had or cannot be trusted."""


class StorageError(CapdError):
    """A capture directory or a file in it that cannot be used."""


class TuningError(CapdError):
    """A setting of the kernel or of a NIC that cannot be read or changed."""


class ListenError(CapdError):
    """An address and port at which nobody can be served."""


class WorkerError(CapdError):
    """A process of capd's own that failed."""
