"""Salvages one file when it is told to, to be traced and killed meanwhile.

    python -m tests.support.salvage_child FOLDER

Says `ready`, waits for a line, and says what became of the file.
"""

from __future__ import annotations

import os
import sys

from capd.archive.salvage import salvage
from tests.support.remnants import RING, SEQ


def main() -> None:
    """Parses the command line and salvages."""
    fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
    print("ready", flush=True)
    sys.stdin.readline()
    print(salvage(fd, RING, SEQ).what, flush=True)


if __name__ == "__main__":
    main()
