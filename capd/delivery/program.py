"""One run of a program: its input, its environment, its time, and how it ended.

Without a shell.  It gets a session of its own, so that a time-out ends whatever it has started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

TAIL = 2000  # bytes of its output that are kept: the last
GRACE = 2.0  # seconds from SIGTERM to SIGKILL
LINGER = 0.5  # seconds for the rest of its output, if something in the background holds that open
BACKGROUND = 30.0  # seconds for which what is in the background can say something


class Run(NamedTuple):
    """How it ended."""

    done: bool  # with status 0
    how: str  # in words
    output: str  # the end of what it said on stdout and stderr


def run(command: Sequence[str], facts: Mapping[str, str], text: str, timeout: float) -> Run:
    """Run it to its end; `facts` go into its environment, `text` to its standard input."""
    try:
        process, said = _started(command, facts, text)
    except OSError as error:
        return Run(False, f"it cannot be started: {error.strerror}", "")  # noqa: FBT003
    except RuntimeError as error:  # no thread can be
        return Run(False, f"it cannot be started: {error}", "")  # noqa: FBT003
    try:
        status = process.wait(timeout)
        how = f"status {status}" if status >= 0 else f"signal {-status}"
    except subprocess.TimeoutExpired:
        _end(process)
        status, how = -1, f"no end within {timeout:g} s"
    said.join(LINGER)
    said.until = time.monotonic() + BACKGROUND
    return Run(status == 0, how, said.text)


def is_heard() -> bool:
    """Whether something that a program has left in the background may still want to say something.

    With nobody at the other end of its pipe that would kill it, and its mail would not be sent.
    """
    now = time.monotonic()
    return any(isinstance(one, _Said) and now < one.until for one in threading.enumerate())


def _started(
    command: Sequence[str], facts: Mapping[str, str], text: str
) -> tuple[subprocess.Popen[bytes], _Said]:
    """It, and what hears it, which comes first: nothing runs that nobody hears.

    OSError, RuntimeError.
    """
    with ExitStack() as stack:
        # In memory: a full disk is what some of them have to tell of.
        content = stack.enter_context(open(os.memfd_create("capd-message"), "w+b"))
        content.write(text.encode(errors="backslashreplace"))
        content.seek(0)
        source, output = os.pipe()
        stack.callback(os.close, output)
        said = _Said(source)
        process = subprocess.Popen(
            command,
            stdin=content,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {name: value.replace("\0", "") for name, value in facts.items()},
            start_new_session=True,
            cwd="/",
        )
    return process, said


def _end(process: subprocess.Popen[bytes]) -> None:
    """It, and whatever it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):  # it may have become another user
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


class _Said(threading.Thread):
    """What a program says: all of it is read, and the end kept."""

    def __init__(self, source: int) -> None:
        """`source`: the end of its pipe, which is closed here.  RuntimeError: it cannot listen."""
        super().__init__(daemon=True)
        self._source = source
        self._tail = b""
        self.until = 0.0  # when nobody has to listen any more
        try:
            self.start()
        except RuntimeError:
            os.close(source)
            raise

    @property
    def text(self) -> str:
        """The end of it."""
        return self._tail.decode(errors="backslashreplace").strip()

    def run(self) -> None:
        """Read to the end."""
        try:
            while more := os.read(self._source, 65536):
                self._tail = (self._tail + more)[-TAIL:]
        finally:
            os.close(self._source)
