"""What a segment's header says of its filter, and whether its packets agree."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.support import judge
from tests.support.frames import FLOWS, Stream
from tests.support.workers import Flows

MARGIN = 5_000_000  # ns in which a packet that is stamped may meet either filter


class Epoch(NamedTuple):
    """A filter, when it was about to be put in force, and when it was."""

    flows: Flows
    before: int  # ns since 1970
    since: int


def said(path: Path) -> tuple[str, int]:
    """The filter that a file names, and since when it is in force (0: always was)."""
    done = subprocess.run(["capinfos", "-M", str(path)], stdout=subprocess.PIPE, check=True)
    text = done.stdout.decode()
    named = re.search(r"Filter string\s*[:=]\s*(.*)", text)
    since = re.search(r"filter since (\S+)\.(\d{9})Z", text)
    stamp = 0
    if since is not None:
        moment = datetime.strptime(since[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        stamp = int(moment.timestamp()) * 10**9 + int(since[2])
    return named[1].strip() if named else "", stamp


class Found(NamedTuple):
    """A frame in a file."""

    number: int
    time: int


def frames(path: Path, stream: Stream) -> list[Found]:
    """All of a file, each unchanged."""
    found = []
    for packet in judge.packets(path):
        number = stream.number_in(packet.data)
        assert number is not None
        assert packet.data == stream.expected(number), f"{path}: frame {number}"
        found.append(Found(number, packet.time))
    return found


def check_headers(paths: Sequence[Path], stream: Stream, epochs: Sequence[Epoch]) -> int:
    """Each file's packets passed the filter that it names, or before it one from earlier.

    Gives how many epochs have a file of their own.
    """
    by_since = {(epoch.flows.text, epoch.since): at for at, epoch in enumerate(epochs)}
    with ThreadPoolExecutor(2) as pool:
        names = list(pool.map(said, paths))
    order = [by_since[name] for name in names]
    assert order == sorted(order)
    for path, at in zip(paths, order, strict=True):
        for frame in frames(path, stream):
            allowed = [epochs[at].flows]
            if frame.time < epochs[at].since:
                allowed = [epoch.flows for epoch in epochs[: at + 1]]
            assert any(flows.takes(frame.number) for flows in allowed), (
                f"{path}, {names[order.index(at)]}: {frame}"
            )
    return len(set(order))


def check_packets(
    paths: Sequence[Path], stream: Stream, count: int, epochs: Sequence[Epoch]
) -> None:
    """Of `count` frames those that some filter wanted are there once, and no others.

    What all filters take is there; what the filter in force takes is there as far as the
    stamps of the frames around it tell which one it was.
    """
    found = [frame for path in paths for frame in frames(path, stream)]
    numbers = [frame.number for frame in found]
    assert numbers == sorted(set(numbers))
    times = dict(found)
    wanted = [n for n in range(count) if all(epoch.flows.takes(n) for epoch in epochs)]
    assert [n for n in wanted if n not in times] == []
    ends = [epoch.before for epoch in epochs[1:]] + [2**63]
    sure = 0
    for first, last in pairwise(wanted):
        for epoch, end in zip(epochs, ends, strict=True):
            if epoch.since + MARGIN < times[first] <= times[last] < end - MARGIN:
                there = [n for n in range(first, last) if n in times]
                assert there == [n for n in range(first, last) if epoch.flows.takes(n)]
                sure += last - first
    assert sure > count / 4
    assert all(any(epoch.flows.takes(n) for epoch in epochs) for n in range(FLOWS) if n in times)
