"""What a reaper knows of holds: each that comes or goes, and what it does when that is unclear."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from capd import hold_folder
from capd.catalog import Catalog
from capd.daemon.custody import Custody
from capd.daemon.deletion import Deletion
from capd.daemon.reaper import Reaper, Territory
from capd.daemon.retention import Policy, Victim
from capd.events import Kind
from capd.holds import Hold, encode
from capd.names import HOLD_FOLDER, SegmentName
from capd.units import SECOND
from tests.support.believing import believing
from tests.support.disk import mounted
from tests.support.laying import HOLD, NOON, SIZE, folder_of, lay, there, with_hold
from tests.support.need import need, need_root
from tests.support.wait import wait_for

FUTURE = time.time_ns() + 10**6 * SECOND


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With a hold."""
    return with_hold(tmp_path / "captures")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[Kind, str]]:
    """What was said since this was asked last, with its kind."""
    by_id = {kind.message_id: kind for kind in Kind}
    found = [(by_id[vars(one)["MESSAGE_ID"]], one.getMessage()) for one in caplog.records]
    caplog.clear()
    return found


class Ward:
    """What a reaper knows of the holds of `directory`, and may do with two segments of v0."""

    def __init__(self, directory: Path) -> None:
        for seq, begin in enumerate((NOON, NOON + 3 * SECOND, FUTURE), 1):
            lay(directory, SegmentName("v0", begin, seq), begin + SECOND)
        self.custody = Custody(str(directory), str(directory), believing())
        self._directory = directory

    def kept(self) -> list[int]:
        """The numbers of those that are held now."""
        self.custody.survey(Catalog(str(self._directory)).scan())
        return [one.seq for one in there(self._directory, "v0") if self.custody.keeps(one)]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


def test_a_reaper_notices(directory: Path, log: pytest.LogCaptureFixture) -> None:
    """Each hold that comes or goes, however it does; and says so once."""
    ward = Ward(directory)
    assert ward.custody.look()
    assert told(log) == [
        (Kind.HOLDS_CHANGED, f"hold {HOLD.id} is in force: it keeps {_words(HOLD)}")
    ]
    assert not ward.custody.look()
    assert not ward.custody.is_stale
    assert ward.kept() == [1]
    assert ward.custody.summary.amount.segments == 1
    path = directory / HOLD_FOLDER / f"{HOLD.id}.json"
    changed = replace(HOLD, until=NOON + 3 * SECOND)
    path.write_text(encode(changed))  # somebody's editor, in place
    assert ward.custody.is_stale
    assert ward.custody.look()
    assert ward.kept() == [1, 2]
    assert [kind for kind, _ in told(log)] == [Kind.HOLDS_CHANGED] * 2
    path.unlink()
    assert ward.custody.is_stale
    assert ward.custody.look()
    assert ward.kept() == []
    (gone,) = told(log)
    assert gone[1].startswith(f"hold {HOLD.id} is not in force any more: it kept 2025-11-24")


def _words(hold: Hold) -> str:
    return (
        "2025-11-24 12:00:00 to 2025-11-24 12:00:01 UTC of v0, until it is released: "
        f"{hold.reason} (root, 2025-11-24 12:00:00)"
    )


def test_a_hold_whose_time_is_over(directory: Path, log: pytest.LogCaptureFixture) -> None:
    """It ends at once, is told, and its file goes."""
    ward = Ward(directory)
    soon = replace(HOLD, id="00000001", until=NOON + 3 * SECOND)
    with folder_of(directory) as fd:
        hold_folder.write(fd, replace(soon, expires_at=time.time_ns() + 2 * SECOND))
    ward.custody.look()
    assert ward.kept() == [1, 2]
    assert ward.custody.summary.holds[0].expires_at is not None
    log.clear()
    time.sleep(2)  # that is what it was made for
    assert not ward.custody.is_stale
    assert ward.custody.look()
    assert ward.kept() == [1]
    assert not ward.custody.is_stale, "its own deletion is no news"
    assert [kind for kind, _ in told(log)] == [Kind.HOLD_EXPIRED]
    assert hold_folder.of(str(directory)).holds == (HOLD,)
    with folder_of(directory) as fd:
        hold_folder.write(fd, replace(soon, id="00000002", expires_at=1))  # by a clock gone wild
    assert not ward.custody.look()
    assert [kind for kind, _ in told(log)] == [Kind.HOLD_EXPIRED]
    assert hold_folder.of(str(directory)).holds == (HOLD,)


def test_in_doubt_nothing_old_goes(directory: Path, log: pytest.LogCaptureFixture) -> None:
    """But what came later does: the recording goes on."""
    ward = Ward(directory)
    ward.custody.look()
    log.clear()
    path = directory / HOLD_FOLDER / "x.json"
    path.write_text("{")
    assert ward.custody.look()
    assert ward.kept() == [1, 2]
    ((kind, text),) = told(log)
    assert kind is Kind.HOLD_UNCLEAR
    assert text.startswith(f"{path}: it cannot be understood as a hold: it is not JSON")
    assert "is deleted until that is mended" in text
    path.unlink()
    assert ward.custody.look()
    assert ward.kept() == [1]
    assert told(log) == [(Kind.HOLDS_CHANGED, f"it is clear again what is held in {directory}")]


@pytest.mark.parametrize("harm", ["torn", "a link"])
def test_a_hold_that_cannot_be_read_any_more(
    directory: Path, log: pytest.LogCaptureFixture, harm: str
) -> None:
    """Stays in force, also for what came after its file was changed, and is read when it can be."""
    with folder_of(directory) as fd:
        hold_folder.remove(fd, HOLD.id)
        hold_folder.write(fd, replace(HOLD, since=FUTURE, until=FUTURE))
    ward = Ward(directory)
    ward.custody.look()
    assert ward.kept() == [3]
    log.clear()
    path, elsewhere = directory / HOLD_FOLDER / f"{HOLD.id}.json", directory / "elsewhere"
    content = path.read_bytes()
    if harm == "torn":
        path.write_bytes(content[:20])
    else:
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
    for _ in range(3):
        ward.custody.look()
        assert ward.kept() == [1, 2, 3]
    assert [kind for kind, _ in told(log)] == [Kind.HOLD_UNCLEAR]
    path.unlink()
    path.write_bytes(content)
    ward.custody.look()
    assert ward.kept() == [3]
    assert [kind for kind, _ in told(log)] == [Kind.HOLDS_CHANGED], "only that it is clear again"


def test_a_doubt_that_goes_with_its_folder(directory: Path) -> None:
    """What keeps everything must end when nothing is left that says so."""
    ward, folder = Ward(directory), directory / HOLD_FOLDER
    (path,) = folder.iterdir()
    path.write_text("{")
    ward.custody.look()
    path.unlink()
    folder.rmdir()
    ward.custody.look()
    assert ward.kept() == [1, 2], "it may be on a disk that is not mounted"
    with folder_of(directory):
        assert ward.custody.look()
    assert ward.kept() == []
    assert ward.custody.summary.doubts == ()


@pytest.mark.parametrize(("rule", "most"), [("max_files", 2), ("max_size", 3 * 2 * SIZE - 1)])
def test_more_is_held_than_a_rule_allows(
    directory: Path, log: pytest.LogCaptureFixture, rule: str, most: int
) -> None:
    """Who reads the journal is told once, and what would help; nothing that is held goes."""
    ward = Ward(directory)
    with folder_of(directory) as fd:
        hold_folder.write(fd, replace(HOLD, id="00000001", until=NOON + 3 * SECOND))
    policy = Policy(max_files=most) if rule == "max_files" else Policy(max_size=most)
    reaper = Reaper(Territory(str(directory), require_mount=False, policy=policy), believing())
    reaper.start()
    try:
        wait_for(lambda: reaper.outlook.segments, 20, "a look")
        looked = reaper.outlook
        reaper.wake()
        wait_for(lambda: reaper.outlook is not looked, 20, "another look")
    finally:
        reaper.end()
        reaper.join()
    ward.custody.look()
    assert ward.kept() == [1, 2]
    texts = [text for kind, text in told(log) if kind is Kind.DOUBT]
    (text,) = texts
    assert text == (
        f"{directory}: 2 segments of 16 KiB are held, and {rule} leaves room for little more: of "
        f"what is not held only the newest stays; release some of it, or raise {rule}"
    )


def test_a_folder_that_cannot_be_read(directory: Path, log: pytest.LogCaptureFixture) -> None:
    """What was in force stays so, also for a daemon that has seen nothing else."""
    ward, folder = Ward(directory), directory / HOLD_FOLDER
    ward.custody.look()
    away = directory.parent / "away"
    folder.rename(away)
    folder.write_text("in its place")
    assert ward.custody.is_stale
    log.clear()
    for custody in (ward.custody, Custody(str(directory), str(directory), believing())):
        ward.custody = custody
        assert custody.look()
        assert not custody.look()
        assert ward.kept() == [1, 2]
        ((kind, text),) = told(log)
        assert (kind, "cannot read the holds" in text) == (Kind.HOLD_UNCLEAR, True)
    folder.unlink()
    away.rename(folder)
    assert ward.custody.look()
    assert ward.kept() == [1]


def test_a_folder_that_somebody_removed(directory: Path, log: pytest.LogCaptureFixture) -> None:
    """Doubtful until there is one again, as the reaper makes it; then the holds were removed."""
    ward, folder = Ward(directory), directory / HOLD_FOLDER
    ward.custody.look()
    for path in (*folder.iterdir(), folder):
        path.unlink() if path.is_file() else path.rmdir()
    assert ward.custody.look()
    assert not ward.custody.has_folder
    assert ward.kept() == [1, 2]
    with folder_of(directory):
        log.clear()
        assert ward.custody.look()
        assert ward.custody.has_folder
        assert ward.kept() == []
        assert [kind for kind, _ in told(log)] == [Kind.HOLDS_CHANGED] * 2


def test_a_hold_that_comes_while_segments_are_deleted(directory: Path) -> None:
    """Those that are left of the victims are not touched, until it is known what it keeps."""
    ward = Ward(directory)
    with folder_of(directory) as fd:
        hold_folder.remove(fd, HOLD.id)
    ward.custody.look()
    assert ward.kept() == []

    def victims() -> Iterator[Victim]:
        for one in there(directory, "v0"):
            yield Victim(one, "max_age")
            if one.seq == 1:
                with folder_of(directory) as fd:
                    hold_folder.write(fd, replace(HOLD, until=FUTURE))

    deletion = Deletion(str(directory))
    deletion.run(victims(), lambda: ward.custody.is_stale)
    assert [victim.segment.seq for victim in deletion.gone] == [1]
    assert ward.custody.look()
    assert ward.kept() == [2, 3]


def test_a_disk_that_is_not_mounted_holds_nothing(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """The place where it was has no holds, or others: nothing that they kept goes for that."""
    need_root()
    need("mount", "umount", "mkfs.ext4")
    second = tmp_path / "second"
    for seq, begin in enumerate((NOON, NOON + 3 * SECOND, FUTURE), 1):
        lay(second, SegmentName("v0", begin, seq), begin + SECOND)
    first = tmp_path / "disk-ext4"
    custody = Custody(str(second), str(first), believing())

    def kept() -> list[int]:
        custody.look()
        custody.survey(Catalog(str(second)).scan())
        return [one.seq for one in there(second, "v0") if custody.keeps(one)]

    with mounted("ext4", tmp_path, 2**24) as disk:
        assert disk.path == first
        assert kept() == [1, 2], "nobody has made the folder yet"
        with folder_of(first) as fd:
            hold_folder.write(fd, HOLD)
        assert kept() == [1]
        assert told(log) == []
    assert kept() == [1, 2]
    assert [kind for kind, _ in told(log)] == [Kind.HOLD_UNCLEAR]
    with folder_of(first):
        assert kept() == [1, 2]
    with folder_of(first) as fd:
        hold_folder.write(fd, HOLD)  # restored there
    assert kept() == [1]
    assert [kind for kind, _ in told(log)] == [Kind.HOLDS_CHANGED]
