"""A keeper at work on a folder of its own, and all that comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capd import pcapng
from capd.capture.folder import Folder
from capd.capture.keeper import Keeper
from capd.capture.outcomes import Closed, Outcome, Spare, Trouble
from capd.capture.state import SegmentState
from capd.messages import Source
from capd.names import part_name
from capd.units import SECOND
from tests.support.wait import wait_for

SOURCE = Source("eth0", "eth0", 1, None, "", 0, 262144, "host", record_direction=False)
HEADER = pcapng.header(SOURCE)
NEVER = 3600 * SECOND


class Bench:
    """A running keeper, and all that it gave."""

    def __init__(self, directory: Path, sync_interval: int) -> None:
        self.folder = directory / "eth0"
        self.keeper = Keeper(lambda: Folder(str(directory), "eth0"), HEADER, sync_interval)
        self.outcomes: list[Outcome] = []
        self.keeper.start()

    def first(self, *kinds: type[Outcome]) -> Outcome:
        """The first outcome of this kind, now or later."""

        def found() -> Outcome | None:
            self.outcomes += self.keeper.collect()
            return next((it for it in self.outcomes if isinstance(it, kinds)), None)

        outcome = wait_for(found, 10, f"{kinds} among {self.outcomes}")
        assert outcome is not None
        self.outcomes.remove(outcome)
        return outcome

    def spare(self, seq: int) -> Spare:
        """A new file."""
        self.keeper.prepare(seq)
        outcome = self.first(Spare)
        assert isinstance(outcome, Spare)
        assert outcome.seq == seq
        return outcome

    def drop(self, spare: Spare) -> None:
        """Have a file removed."""
        self.keeper.drop(spare.seq, spare.fd)
        path = self.folder / part_name(spare.seq)
        wait_for(lambda: not path.exists(), 10, f"{path} to go")

    def close(self, spare: Spare, segment: SegmentState, tail: bytes) -> Path:
        """The path that a finished segment gets."""
        self.keeper.finish(spare.fd, segment, tail)
        path = self.closed(segment)
        assert not os.path.exists(f"/proc/self/fd/{spare.fd}")
        return path

    def closed(self, segment: SegmentState) -> Path:
        """The same once the keeper has it."""
        outcome = self.first(Closed)
        assert isinstance(outcome, Closed)
        assert outcome.segment == segment
        assert outcome.path is not None
        return Path(outcome.path)

    def trouble(self) -> str:
        """The next complaint."""
        outcome = self.first(Trouble)
        assert isinstance(outcome, Trouble)
        return outcome.text

    def rest(self) -> list[Outcome]:
        """What else came, once the keeper has stopped."""
        self.keeper.stop()
        self.keeper.join(10)
        assert not self.keeper.is_alive()
        return [*self.outcomes, *self.keeper.collect()]


@contextmanager
def bench(directory: Path, sync_interval: int = NEVER) -> Iterator[Bench]:
    """Nothing may be left over at its end."""
    made = Bench(directory, sync_interval)
    try:
        yield made
        assert made.rest() == []
    finally:
        made.keeper.stop()
        made.keeper.join(10)
