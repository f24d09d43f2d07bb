"""Moves one segment when it is told to, to be traced and killed meanwhile.

    python -m tests.support.moving_child FIRST SECOND

Says `ready`, waits for a line, and says what came of it.
"""

from __future__ import annotations

import os
import sys

from capd.archive.folder import opened
from capd.archive.keeping import read_index
from capd.archive.moving import move, shelf
from capd.catalog import Catalog, Segment, everything
from tests.support.compressing import go_on


def oldest(first: str) -> Segment:
    """The oldest segment that there is in a directory."""
    return next(iter(everything(Catalog(first).scan())))


def move_one(segment: Segment, first: str, second: str) -> bool:
    """From the first directory to the second."""
    place = os.path.dirname(segment.path)
    with opened(first, place) as source, shelf(second, place, require_mount=False) as target:
        assert source is not None
        contents = read_index(source, segment.name)
        assert contents is not None
        return move(source, target.folder, segment.name, contents, go_on)


def main() -> None:
    """Parses the command line and moves."""
    segment = oldest(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        said = "moved" if move_one(segment, *sys.argv[1:]) else "gone"
    except OSError:
        said = "refused"
    print(said, flush=True)


if __name__ == "__main__":
    main()
