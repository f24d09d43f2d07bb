"""Which finished segments there are, and which of them are as they will stay: pure.

A segment is handed to the [hook] under the name that it keeps: indexed, compressed if that is
wanted, and moved if there is a second directory.  One that nobody can index is handed over as it
is after a while, without the facts that an index has.  What was set aside as damaged is no segment.
"""

from __future__ import annotations

from typing import NamedTuple

from capd.catalog import RingFiles, Segment
from capd.daemon.handed import Handed
from capd.daemon.handover import Key, Task
from capd.daemon.outlook import Seen, key_of
from capd.names import DAMAGED_SUFFIX, SEGMENT_SUFFIX
from capd.units import SECOND

LATE = 600 * SECOND  # ns that a segment may be without an index


class Findings(NamedTuple):
    """What is not handed over yet."""

    open: set[Key]  # also of what that look has deleted
    ready: list[list[Task]]  # by ring, in the order of their numbers
    present: dict[str, set[int]]  # by ring: the open ones left, the unfinished and the newest


class Finished:
    """Of the capture directory, and of the second one."""

    def __init__(self) -> None:
        self._without_index: dict[Key, int] = {}  # since when, in the caller's monotonic ns

    def find(
        self, first: Seen, second: Seen | None, handed: Handed, now: int, *, compress: bool
    ) -> Findings:
        """`second` if segments move there; `compress`: whether they are compressed first."""
        open_: set[Key] = set()
        ready: dict[str, dict[int, Task]] = {}
        present: dict[str, set[int]] = {}
        for seen in (first, second):
            for ring, files in ({} if seen is None else seen.rings).items():
                numbers = present.setdefault(ring, set())
                numbers.update(part.seq for part in files.parts)
                numbers.update(segment.seq for segment in files.segments[-1:])
                for segment in _after(files.segments, handed, ring):
                    key = ring, segment.seq
                    if seen is None or handed.has(*key):
                        continue
                    if segment.suffixes == (DAMAGED_SUFFIX,):
                        handed.add(*key)
                        continue
                    open_.add(key)
                    if key_of(segment) in seen.gone:
                        continue
                    numbers.add(segment.seq)
                    stays = second is None or seen is second
                    is_raw = compress and seen is first
                    if self._is_ready(segment, now, stays=stays, to_be_compressed=is_raw):
                        task = Task(seen.directory, segment)
                        ready.setdefault(ring, {})[segment.seq] = task
        self._without_index = {
            key: since for key, since in self._without_index.items() if key in open_
        }
        in_order = [[tasks[seq] for seq in sorted(tasks)] for tasks in ready.values()]
        return Findings(open_, in_order, present)

    def _is_ready(self, segment: Segment, now: int, *, stays: bool, to_be_compressed: bool) -> bool:
        if not segment.own:  # nobody changes it
            return True
        if not segment.indexed:
            since = self._without_index.setdefault((segment.ring, segment.seq), now)
            return now - since >= LATE
        settled = len(segment.suffixes) == 2  # the data and their index
        return stays and settled and not (to_be_compressed and segment.suffix == SEGMENT_SUFFIX)


def up_to_now(first: Seen) -> Handed:
    """For a new hook: all that is finished counts as handed over."""
    newest = {
        ring: max((segment.seq for segment in files.segments), default=0)
        for ring, files in first.rings.items()
    }
    return Handed({ring: ((1, seq),) if seq else () for ring, seq in newest.items()})


def moved_before(first: Seen, second: Seen, begun: Handed) -> None:
    """The same of rings of which nothing finished is left in the capture directory.

    Their numbers go on behind what is in the second one: on a new disk, or in a new directory.
    """
    for ring, files in second.rings.items():
        if not begun.rings.get(ring):
            here = first.rings.get(ring, RingFiles())
            numbers = [part.seq for part in here.parts] + [one.seq for one in here.segments]
            newest = max((segment.seq for segment in files.segments), default=0)
            last = min([newest, *(seq - 1 for seq in numbers)])
            begun.rings[ring] = ((1, last),) if last > 0 else ()


def _after(segments: list[Segment], handed: Handed, ring: str) -> list[Segment]:
    """Those behind the first that are all handed over."""
    ranges = handed.rings.get(ring, ())
    if not ranges or ranges[0][0] > 1:
        return segments
    return [segment for segment in segments if segment.seq > ranges[0][1]]
