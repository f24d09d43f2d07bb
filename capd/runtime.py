"""The runtime directory: where a running daemon is found, and that there is only one.

lock         held by the daemon for as long as it runs
control.sock where it takes orders
status.json  how it is, every second
capd.toml    the last config that could be used
"""

from __future__ import annotations

import fcntl
import os
import shutil
from types import TracebackType
from typing import Self

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
            self._lock = os.open(f"{self.path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
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
        """Keep a copy of a config that can be used, for a start with one that cannot."""
        try:
            shutil.copyfile(config, f"{self.last_good}.new")
            os.replace(f"{self.last_good}.new", self.last_good)
        except OSError:  # it is a second chance only
            return

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            raise StorageError(
                f"another capd runs (process {pid}, {self.path}); "
                "to run a second one, set RUNTIME_DIRECTORY to another directory"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
