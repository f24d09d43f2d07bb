"""Reading one finished file, in a process of its own, by other people's tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tests.soaking.accounts import Run
from tests.support import judge
from tests.support.frames import IMIX, Shape, Stream

SPACING = 2**40  # between the first numbers of two streams
STREAMS = (Stream(IMIX), Stream(Shape.fixed(700), first=SPACING))


class Reading(NamedTuple):
    """What a file holds: per stream the runs of its numbers, in its order; or what is wrong."""

    runs: list[list[Run]]
    complaint: str


def yield_to_all() -> None:
    """What such a process does first."""
    os.nice(5)


def read(path: str, thorough: bool) -> Reading:
    """Every frame is as it was sent; `thorough`: tshark and capinfos must be content as well."""
    runs: list[list[Run]] = [[] for _ in STREAMS]
    try:
        if thorough:
            judge.assert_clean(Path(path))
        begin = following = -1
        for packet in judge.packets(Path(path)):
            number = STREAMS[0].number_in(packet.data) or 0
            stream = STREAMS[min(number // SPACING, len(STREAMS) - 1)]
            if packet.data != stream.expected(number):
                return Reading(runs, f"a frame that nobody sent: {packet.data[:64].hex()}")
            if number != following:
                _close(runs, (begin, following))
                begin = number
            following = number + 1
        _close(runs, (begin, following))
    except AssertionError as error:
        return Reading(runs, str(error))
    return Reading(runs, "")


def _close(runs: list[list[Run]], run: Run) -> None:
    if run[0] >= 0:
        runs[run[0] // SPACING].append(run)
