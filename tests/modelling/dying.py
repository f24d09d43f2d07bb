"""A process that does one thing and may die at it, before any of its system calls.

It is forked, runs capd's own code, and is killed before the n-th call that changes a disk, in
whichever of its threads; a write that it dies at may have been done in part, by whole pages.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

PAGE = 4096
CHANGES = (
    *("open", "pwrite", "write", "ftruncate", "fsync", "fdatasync"),
    *("rename", "link", "unlink", "mkdir", "rmdir"),
)


class Death(NamedTuple):
    """Before which change a process is killed; 0: never.  `pages`: written of a last write."""

    change: int
    pages: int


LIFE = Death(0, 0)


def run(action: Callable[[], object], death: Death) -> bool:
    """Have a process of its own do this; whether it lived to the end."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _be_child(action, death)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert death.change, f"died of signal {os.WTERMSIG(status)}"
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0, "a process of capd's failed, as is said above"
    return True


def _be_child(action: Callable[[], object], death: Death) -> None:
    status = 1
    try:
        _count_changes(death)
        action()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)


def _count_changes(death: Death) -> None:
    """Come between this process and its system calls."""
    left = death.change
    write = os.pwrite

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def before(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            if name == "open" and not arguments[1] & os.O_CREAT:
                return call(*arguments, **named)
            left -= 1
            if left == 0:
                if name == "pwrite":
                    fd, content, offset = arguments
                    if part := memoryview(content)[: death.pages * PAGE]:
                        write(fd, part, offset)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return before

    for name in CHANGES:
        setattr(os, name, counted(name, getattr(os, name)))
