"""The runtime directory: where a running daemon is found, and that there is only one.

lock         held by the daemon for as long as it runs
control.sock where it takes orders
status.json  how it is, every second
capd.toml    the last config that could be used
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from types import TracebackType
from typing import Self

from capd import whole_file
from capd.errors import StorageError

DEFAULT = "/run/capd"


def runtime_path() -> str:
    """$RUNTIME_DIRECTORY (systemd.exec(5): several are divided by colons), else /run/capd."""
    return os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or DEFAULT


class RuntimeDirectory:
    """The directory of this process; as a context, the lock that makes it the daemon's."""

    def __init__(self) -> None:
        self.path = runtime_path()
        self.control = f"{self.path}/control.sock"
        self.status = f"{self.path}/status.json"
        self.last_good = f"{self.path}/capd.toml"
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            os.makedirs(self.path, 0o750, exist_ok=True)
            self._lock = _opened(f"{self.path}/lock", os.O_RDWR | os.O_CREAT, 0o640)
            self._take()
        except OSError as error:
            reason = error.strerror
            raise StorageError(
                f"cannot use the runtime directory {self.path}: {reason}; "
                "set RUNTIME_DIRECTORY to one that can be written to"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    def remember(self, config: str) -> None:
        """Keep a copy of a config that can be used, for a start with one that cannot.

        For capd alone, whoever may read the config itself: there may be passwords in it.
        """
        with contextlib.suppress(OSError):  # it is a second chance only
            with open(config, "rb") as source:
                content = source.read()
            whole_file.write(self.last_good, content, mode=0o600)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            raise StorageError(
                f"another capd runs (process {pid}, {self.path}); "
                "to run a second one, set RUNTIME_DIRECTORY to another directory"
            ) from error
        owner = os.stat(self.path).st_uid
        if owner not in (0, os.geteuid()):  # who could change what is opened here below this one
            raise StorageError(
                f"cannot use the runtime directory {self.path}: it belongs to user {owner} and "
                f"capd runs as {os.geteuid()}; set RUNTIME_DIRECTORY to one of its own"
            )
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)


def _opened(path: str, flags: int, mode: int) -> int:
    """The file itself: a link in its place leads nobody elsewhere."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
