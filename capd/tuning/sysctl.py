"""The sysctls below net., by their names, in /proc/sys.

The text has one space where the kernel has any white space, so that values can be compared.
"""

from __future__ import annotations

import os

from capd.errors import TuningError


def exists(name: str) -> bool:
    """Whether there is one of this name; those of an interface go with it."""
    return os.path.exists(path(name))


def read(name: str) -> str:
    """TuningError if there is none of this name, or nobody may read it."""
    try:
        with open(path(name), encoding="ascii", errors="surrogateescape") as file:
            return " ".join(file.read().split())
    except OSError as error:
        raise TuningError(_reason(error)) from error


def write(name: str, text: str) -> None:
    """TuningError: the kernel does not take it."""
    try:
        fd = os.open(path(name), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, f"{text}\n".encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise TuningError(_reason(error)) from error


def path(name: str) -> str:
    """As sysctl(8) has it: the first separator decides, and the other one is part of a name.

    `net.ipv4.conf.eth0/100.forwarding` and `net/ipv4/conf/eth0.100/forwarding` are the same.
    """
    if name.removeprefix("net").startswith("."):
        name = name.translate(str.maketrans("./", "/."))
    return f"/proc/sys/{name}"


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "this kernel, or this network namespace, has no such sysctl"
    return f"{error.strerror}"
