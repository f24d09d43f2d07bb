"""A keeper whose folder cannot be made: whether it says that the disk has no room."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.capture import keeper as module
from capd.capture.folder import Folder
from capd.capture.keeper import Keeper
from capd.capture.outcomes import Spare
from capd.errors import StorageError
from tests.support.keeping import HEADER, NEVER
from tests.support.wait import wait_for


class Trial:
    """A keeper, and why its folder is refused."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.refused = errno.EDQUOT
        self.keeper = Keeper(self._open, HEADER, NEVER)

    def _open(self) -> Folder:
        if self.refused:
            text = os.strerror(self.refused)
            raise StorageError(f"cannot use it: {text}") from OSError(self.refused, text)
        return Folder(str(self._directory), "eth0")


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    """One that tries again quickly."""
    monkeypatch.setattr(module, "RETRY", 0.002)
    made = Trial(tmp_path)
    made.keeper.start()
    yield made
    made.keeper.stop()
    made.keeper.join(10)


def test_it_says_so_for_as_long_as_that_is_the_reason(trial: Trial) -> None:
    """Also when the same was the reason before another one; what is said in words, is said once."""
    trial.keeper.prepare(7)
    for room, other in ((errno.EDQUOT, errno.EMFILE), (errno.ENOSPC, errno.EIO), (errno.EDQUOT, 0)):
        trial.refused = room
        wait_for(lambda: trial.keeper.full, 10, os.strerror(room))
        trial.refused = other
        wait_for(lambda: not trial.keeper.full, 10, os.strerror(other))
    *troubles, spare = trial.keeper.collect()
    assert len(troubles) == 4
    assert isinstance(spare, Spare)
    os.close(spare.fd)
