"""A system clock that a test sets, for the processes that are started with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class SteppedClock:
    """CLOCK_REALTIME, so many seconds from the truth; the other clocks are left alone."""

    def __init__(self, folder: Path) -> None:
        """Builds the library to preload in `folder`, where the step is kept too."""
        library = folder / "stepped_clock.so"
        argv = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE)]
        subprocess.run(argv, check=True)
        self._step = folder / "step"
        self._step.write_bytes(bytes(8))
        self.prefix = ("env", f"LD_PRELOAD={library}", f"STEPPED_CLOCK={self._step}")

    def set(self, seconds: int) -> None:
        """From now on the clock is this far ahead, or behind if negative."""
        with self._step.open("r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))
