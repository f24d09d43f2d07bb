"""What a power cut leaves: the image of a disk, copied at random moments, recovered.

A copy has to be the disk as it was at one moment.  A device mapper that could stop the disk is not
in every kernel, so the image of the ext4 that capd writes to lies on an XFS, and is cloned there
(FICLONE): XFS holds off all writes to a file while it clones it, which is over in no time, as no
data are copied.  A clone has what the disk was told; what only the page cache of the ext4 had, and
what its journal had not, is not in it.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

from capd.catalog import Catalog, Segment, everything
from capd.query.verification import Verification
from tests.support import judge
from tests.support.disk import attached, clone, mounted
from tests.support.frames import Shape, Stream
from tests.support.load import assert_nothing_left, chance, steady
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, write_config
from tests.support.wait import wait_for

MIB = 2**20
COPIES = 20
AT_ONCE = 5  # copies that are recovered beside each other
MOST_BETWEEN = 1.0  # s from one copy to the next
STREAM = Stream(Shape.fixed(2900))
RATE = 4_000
SYNC = 0.2  # s
MARGIN = 0.5  # s that the disk may take to confirm what it was asked to
STORAGE = f'max_files = 6\nsync_interval = "{SYNC * 1000:.0f}ms"'
CAPTURE = 'ring_size = "256MiB"\nflush_interval = "50ms"\nrotate_size = "8MiB"\n'
QUIET = CAPTURE.replace("256MiB", "16MiB")
COMPRESSION = "\n[compression]\nenabled = true\n"


class Seen(NamedTuple):
    """What there was at a moment."""

    moment: float  # monotonic
    named: frozenset[int]  # numbers of the segments that had their final names
    written: int  # packets, as the status told


class Copy(NamedTuple):
    """An image, and what must be in it."""

    image: Path
    before: Seen  # so long before it that the disk has it
    lowest: int  # number of a segment that retention had not yet taken when it was made


@pytest.mark.fault(21)
def test_twenty_moments(net: Namespace, tmp_path: Path) -> None:
    """All that was on the disk `sync_interval` before is there, in files that everybody reads."""
    need("mkfs.ext4", "mkfs.xfs", "mount", "umount", "zstd")
    dice = chance()
    index = net.add_veth("v0", "v1")
    with mounted("xfs", tmp_path, 4096 * MIB) as outer:
        with mounted("ext4", outer.path, 300 * MIB) as disk:
            path = tmp_path / "capd.toml"
            config = write_config(path, disk.path, "v0", storage=STORAGE, capture=CAPTURE)
            config.write_text(config.read_text() + COMPRESSION)
            with Recorder(net, config) as capd:
                capd.wait_capturing("v0")
                with steady(net.name, index, STREAM, RATE):
                    copies = list(take(capd, disk.path, outer.path / "disk.img", dice))
            assert capd.summary("v0").lost == 0
        assert sum(len(copy.before.named) for copy in copies) > COPIES
        assert copies[-1].lowest > 3, "retention had nothing to do"
        hospital = Hospital(net, tmp_path)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(hospital.treat, copies))
    print(f"{len(hospital.salvaged)} without a final name, {len(hospital.judged)} different files")
    assert len(hospital.salvaged) > COPIES // 2


def take(capd: Recorder, directory: Path, image: Path, dice: random.Random) -> Iterator[Copy]:
    """Copies of the image that holds the directory, while capd writes to it."""
    wait_for(lambda: len(named(directory)) > 2, 20, "closed segments")
    history = [look(capd, directory)]
    wait_for(lambda: time.monotonic() - history[0].moment > SYNC + MARGIN, 20, "what must be there")
    for number in range(COPIES):
        history.append(look(capd, directory))
        time.sleep(dice.uniform(0, MOST_BETWEEN))
        target, latest = image.with_name(f"copy-{number}"), time.monotonic() - SYNC - MARGIN
        clone(image, target)
        before = next(seen for seen in reversed(history) if seen.moment <= latest)
        yield Copy(target, before, min(named(directory)))


def look(capd: Recorder, directory: Path) -> Seen:
    """Now."""
    (ring,) = capd.status().rings
    return Seen(time.monotonic(), named(directory), ring.counters.written)


def named(directory: Path) -> frozenset[int]:
    """The numbers of what has a final name."""
    found = chain(directory.glob("v0/*/*.pcapng"), directory.glob("v0/*/*.pcapng.zst"))
    return frozenset(int(path.name.partition(".pcapng")[0].rpartition("_")[2]) for path in found)


class Hospital:
    """Where copies are recovered, by a capd that starts where the power came back."""

    def __init__(self, net: Namespace, below: Path) -> None:
        self.judged: dict[bytes, list[int]] = {}  # by digest: what is in a file that is good
        self.salvaged: list[str] = []  # what was told of them
        self._net, self._below = net, below

    def treat(self, copy: Copy) -> None:
        """Recover a copy, look at all of it, and throw it away."""
        place = self._below / copy.image.name
        with attached(copy.image, place):
            self._recover(place)
            self._check(copy, place)
        copy.image.unlink()

    def _recover(self, directory: Path) -> None:
        config = write_config(directory.with_suffix(".toml"), directory, "v0", capture=QUIET)
        dead = set(parts(directory, "v0"))
        with Recorder(self._net, config) as capd:
            capd.wait_capturing("v0")
            wait_for(lambda: not dead & {*parts(directory, "v0")}, 60, f"the end of {dead}")
            wait_for(lambda: settled(directory), 60, "an index of each, and nothing else")
            assert capd.stop() == 0
        told = "the capture ended without closing"
        self.salvaged.extend(line for line in capd.lines if told in line)
        assert_nothing_left(directory)
        assert not [*directory.rglob("*.suspect"), *directory.rglob("*.damaged")]

    def _check(self, copy: Copy, directory: Path) -> None:
        verdicts = Verification([str(directory)]).verdicts(lambda _: None)
        assert [one for one in verdicts if one.problem is not None] == []
        found = segments(directory)
        there = {one.seq for one in found}
        assert {seq for seq in copy.before.named if seq >= copy.lowest} <= there, copy
        packets = [number for one in found for number in self._judge(directory / one.path)]
        assert packets == sorted(set(packets)), copy
        # Later ones may be there without the one before: a page that is overwritten needs no
        # journal, and what a file has grown by does.
        assert packets[0] < copy.before.written
        confirmed = [number for number in packets if number < copy.before.written]
        assert confirmed == [*range(packets[0], copy.before.written)], copy

    def _judge(self, path: Path) -> list[int]:
        """The packets of a file, which tshark and tcpdump read without a complaint."""
        digest = hashlib.blake2b(path.read_bytes()).digest()
        if digest not in self.judged:  # most are in many copies
            judge.assert_clean(path)
            self.judged[digest] = judge.numbers([path], STREAM)
        return self.judged[digest]


def settled(directory: Path) -> bool:
    """Whether each segment is there in one form, with an index, and nothing is half made."""
    rings = Catalog(str(directory)).scan()
    done = all(one.indexed and len(one.suffixes) == 2 for one in everything(rings))
    return done and not any(files.leftovers for files in rings.values())


def segments(directory: Path) -> list[Segment]:
    """All, in the order of their numbers."""
    return list(everything(Catalog(str(directory)).scan()))
