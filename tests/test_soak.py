"""The soak, five minutes of it; and that it sees what it is there to see."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from capd.names import HANDED_FILE, SegmentName
from tests.soaking.accounts import Account, size
from tests.soaking.copies import Copies
from tests.soaking.course import run
from tests.soaking.processes import MIB, Sample, growths
from tests.soaking.reader import SPACING, STREAMS, read
from tests.soaking.schedule import ROLES, steps
from tests.support.extracting import MS, put
from tests.support.need import need, need_frame_source, need_root
from tests.support.traffic import START

MINUTES = 5


@pytest.mark.alone
@pytest.mark.fault(55)
def test_five_minutes() -> None:
    """No frame is lost or doubled, nothing grows, nobody complains, whatever is done to it."""
    need_root()
    need("capinfos", "ip", "mkfs.ext4", "tcpdump", "tshark", "zstd")
    need_frame_source()
    summary = run(MINUTES, random.randrange(2**32))
    print("\n".join(summary.lines()))
    assert summary.problems == []
    assert (summary.lost, summary.twice) == (0, 0)
    assert {f"kill {role}" for role in ("worker", "daemon", "archive")} <= summary.acts.keys()
    assert summary.counted > 0, "the starved ring"
    assert summary.deleted > 0
    assert summary.extracted > 0


def test_a_schedule_can_be_had_again() -> None:
    """The same seed, the same acts: a longer run begins like a shorter one."""
    short, long = list(steps(7, 300)), list(steps(7, 600))
    assert long[: len(short)] == short
    assert len(long) > len(short) > 50
    assert list(steps(8, 300)) != short
    assert {step.role for step in short if step.kind == "kill"} == {*ROLES}
    assert len({(step.settings.compress, step.settings.archive) for step in short}) == 4


def test_the_account() -> None:
    """What is missing, what is twice, what another name of a segment tells."""
    account = Account(0)
    assert account.enter(("v0", 1), [(0, 10)]) == ""
    assert account.enter(("v0", 2), [(10, 20), (30, 40)]) == ""
    assert account.missing(45) == [(20, 30), (40, 45)]
    account.doubtful.add((25, 42))
    assert account.missing(45) == [(20, 25), (42, 45)]
    assert account.doubted(45) == 7
    assert account.enter(("v0", 2), [(10, 20), (30, 40)]) == "", "compressed, for example"
    assert "holds" in account.enter(("v0", 2), [(10, 20)])
    assert "5 frames are in another one" in account.enter(("v0", 3), [(15, 22)])
    assert account.twice == 5
    assert size(account.missing(45)) == 6
    assert account.left_out([(5, 12), (14, 21), (22, 40)]) == [(12, 14), (21, 22)]
    assert account.left_out([(5, 22), (30, 33)]) == [], "nobody has what lies between"


def test_a_file_as_it_is_read(tmp_path: Path) -> None:
    """Runs of numbers for each stream; a changed frame is not a frame of the soak's."""
    first, other = STREAMS
    numbers = (3, 4, 5, 9, 10, 4)
    frames = [first.expected(number) for number in numbers]
    frames.append(other.expected(SPACING + 1))
    reading = read(str(written(tmp_path, 1, frames)), True)
    assert reading.complaint == ""
    assert reading.runs == [[(3, 6), (9, 11), (4, 5)], [(SPACING + 1, SPACING + 2)]]
    frames[2] = frames[2][:-1] + b"?"
    assert "nobody sent" in read(str(written(tmp_path, 2, frames)), False).complaint


def written(folder: Path, seq: int, frames: list[bytes]) -> Path:
    """A finished segment that holds these."""
    packets = [(START + MS * at, frame) for at, frame in enumerate(frames)]
    return put(folder, "soak0", seq, packets, "bare")


def test_the_order_of_deletion(tmp_path: Path) -> None:
    """A segment that goes before an older one is seen; one that moves is not gone."""
    first, second, copied = tmp_path / "first", tmp_path / "second", tmp_path / "copied"
    copied.mkdir()
    copies = Copies([first, second], copied)
    paths = [
        first / ring / "2025-11-24" / SegmentName(ring, START + number, number).file
        for number in (1, 2, 3, 4)
        for ring in ("v0", "v1")
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    ranges = json.dumps({"format": 1, "rings": {"v0": [[1, 2]], "v1": [[1, 4]]}})
    (first / HANDED_FILE).write_text(ranges)
    for _ in range(50):  # it is believed when it is old
        copies.look()
    assert len(copies.found) == 8
    paths[0].unlink()
    paths[1].unlink()
    moved = second / paths[2].relative_to(first)
    moved.parent.mkdir(parents=True)
    paths[2].rename(moved)
    copies.look()
    copies.look()
    assert copies.disorder == []
    assert copies.gone_at.keys() == {("v0", 1), ("v1", 1)}
    paths[5].unlink()
    copies.look()
    copies.look()
    assert [text.partition(" was ")[0] for text in copies.disorder] == [str(paths[5])]
    assert copies.disorder[0].endswith(f"before {paths[3]}"), "what the hook still wants is kept"


def test_what_grows() -> None:
    """Over the run, also where each process is young; and over the life of one that is old."""
    even = [Sample(at, "worker", 1 + at // 30, 20 * MIB, 0, 9, 2) for at in range(300)]
    assert all(one.allowed for one in growths(even))
    leak = [one._replace(memory=(20 + int(one.at) // 10) * MIB) for one in even]
    assert [(one.of, one.what) for one in growths(leak) if not one.allowed] == [
        ("worker", "memory")
    ]
    old = [Sample(at, "daemon", 1, 20 * MIB, 0, 9 + at // 5, 2) for at in range(100)]
    assert {(one.of, one.what) for one in growths(old) if not one.allowed} >= {
        ("daemon", "descriptors"),
        ("daemon 1", "descriptors"),
    }
    usual = [Sample(at, "archive", 1 + at // 60, 28 * MIB, 0, 5, 3) for at in range(300)]
    idle = [one._replace(memory=10 * MIB) if 180 <= one.at < 210 else one for one in usual]
    assert all(one.allowed for one in growths(idle)), "one had nothing to compress at first"
    more = [one._replace(memory=50 * MIB) if 210 <= one.at < 240 else one for one in idle]
    assert [one.of for one in growths(more) if not one.allowed] == ["archive 4"]
