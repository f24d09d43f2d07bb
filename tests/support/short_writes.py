"""A disk that takes less than it is given, for the processes that are started with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class ShortWrites:
    """Every large pwrite writes about half, in whole sectors."""

    def __init__(self, folder: Path) -> None:
        """Builds the library to preload in `folder`, where the count is kept too."""
        library = folder / "short_writes.so"
        argv = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE)]
        subprocess.run(argv, check=True)
        self._count = folder / "count"
        self._count.write_bytes(bytes(8))
        self.prefix = ("env", f"LD_PRELOAD={library}", f"SHORT_WRITES={self._count}")

    @property
    def count(self) -> int:
        """How many there were."""
        return int.from_bytes(self._count.read_bytes(), "little")
