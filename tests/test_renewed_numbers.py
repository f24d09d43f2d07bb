"""A second directory in which a ring's numbers began again: the oldest goes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from capd.catalog import Catalog, RingFiles
from capd.daemon.finished import Finished
from capd.daemon.handed import Handed
from capd.daemon.outlook import Seen, deleted, outlook
from capd.daemon.retention import Need, Policy, choose
from capd.names import SegmentName
from tests.support.laying import NOON, SIZE, lay

HOUR = 3600 * 10**9
DAY = 24 * HOUR
NOW = NOON + 40 * DAY
COUNT = 30
OLD = [NOON + at * HOUR for at in range(COUNT)]
NEW = [NOW - DAY + at * HOUR // 2 for at in range(COUNT)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """As many of both, from number 1."""
    for stamps in (NEW, OLD):
        for seq, stamp in enumerate(stamps, 1):
            lay(tmp_path, SegmentName("v0", stamp, seq), stamp + 1)
    return tmp_path


def scan(directory: Path) -> dict[str, RingFiles]:
    return Catalog(str(directory)).scan()


def taken(rings: dict[str, RingFiles], need: Need, policy: Policy) -> list[int]:
    """The stamps of what goes."""
    return [victim.segment.stamp for victim in choose(rings, need, policy, NOW).victims]


NOTHING = Need(0, "max_usage")


def test_what_is_too_old_goes(directory: Path) -> None:
    """All of it, and nothing else."""
    assert taken(scan(directory), NOTHING, Policy(max_age=10 * DAY)) == OLD


def test_room_is_made_by_the_oldest(directory: Path) -> None:
    """In the order in which they were written."""
    rings = scan(directory)
    each = rings["v0"].segments[0].size
    assert each >= SIZE
    assert taken(rings, Need((COUNT + 5) * each, "max_usage"), Policy()) == [*OLD, *NEW[:5]]


def test_also_when_the_proof_is_deleted(directory: Path) -> None:
    """By the same reaper: the later numbering has not come so far yet."""
    catalog = Catalog(str(directory))
    catalog.scan()
    for stamps, numbers in ((NEW, range(11, COUNT + 1)), (OLD, range(1, 11))):
        for seq in numbers:
            for path in (directory / "v0").glob(f"*/{_stem(stamps[seq - 1], seq)}*"):
                path.unlink()
    assert taken(catalog.scan(), NOTHING, Policy(max_age=10 * DAY)) == OLD[10:]


def test_one_of_two_is_deleted(directory: Path) -> None:
    """The other counts on, as what is there and as what a hook is to be given."""
    rings = scan(directory)
    choice = choose(rings, NOTHING, Policy(max_age=10 * DAY), NOW)
    seen = Seen(0, str(directory), rings, deleted(choice.victims))
    after = outlook(seen, NOW)
    assert (after.segments, after.oldest) == (COUNT, {"v0": NEW[0]})
    handed = Handed({"v0": ((1, 20),)})
    found = Finished().find(seen, None, handed, 0, compress=False)
    assert sorted(found.open) == [("v0", seq) for seq in range(21, COUNT + 1)]


def _stem(stamp: int, seq: int) -> str:
    return SegmentName("v0", stamp, seq).file.partition(".")[0]
