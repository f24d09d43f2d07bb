"""The config file as a daemon uses it: examined whole, its directory claimed, the last good kept.

What follows from a config is the service's business.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from capd.config import Config, load
from capd.daemon.check import warnings
from capd.daemon.claim import Claims
from capd.daemon.directory import check_directory
from capd.daemon.preflight import examine, remains
from capd.errors import ConfigError, StorageError
from capd.runtime import RuntimeDirectory


class ConfigFile:
    """The one of this daemon."""

    def __init__(self, path: str, runtime: RuntimeDirectory) -> None:
        self.path = path
        self._runtime = runtime
        self._claims = Claims()

    def read(self, held: int) -> tuple[Config, list[str]]:
        """The config in it, its directory ready to be written to, and what is doubtful.

        `held`: bytes of memory that rings have now.  ConfigError, StorageError.
        """
        usable = examine(self.path, held)
        storage = usable.config.storage
        check_directory(storage.directory, require_mount=storage.require_mount)
        try:
            self._claims.take(storage.directory)
        except StorageError as error:
            problem = f"{self.path}: storage.directory: {error}"
            raise ConfigError((problem,), passing=True) from error
        return usable.config, list(warnings(usable))

    def remember(self) -> None:
        """What is in it is good, for a start with something that is not."""
        self._runtime.remember(self.path)

    def before(self) -> tuple[Config | None, str]:
        """What stays in force where it cannot be used; and words for that."""
        path = self._runtime.last_good
        try:
            return load(path), "the config before it stays in force"
        except ConfigError:  # it was good for another version
            rest = remains(path)
        if rest is None:
            return None, "none is in force: rings go on, but nothing is deleted"
        return rest, "of the config before it, what this version knows stays in force"

    def claim(self, directories: Iterable[str]) -> None:
        """Keep other daemons out of these, where none is in there yet."""
        for directory in directories:
            with contextlib.suppress(StorageError):
                self._claims.take(directory)

    def keep_claims(self, directories: Iterable[str]) -> None:
        """Let other daemons have what is not among these."""
        self._claims.keep_only(set(directories))
