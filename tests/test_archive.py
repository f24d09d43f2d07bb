"""The archive process: what it makes of closed segments, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from capd.messages import Salvage
from capd.names import SUSPECT_SUFFIX, part_name
from tests.support import judge
from tests.support.archive import SECTION, Shelf, index_of, office, plan, read_back
from tests.support.need import need
from tests.support.wait import wait_for

MIB = 2**20


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty capture directory."""
    return Shelf(tmp_path)


@pytest.mark.fault(27)
def test_every_closed_segment_is_compressed_and_indexed(shelf: Shelf) -> None:
    """Also one that is closed later; each file as other programs want it, and none too much."""
    need("zstd")
    for seq in range(1, 4):
        shelf.add(seq)
    shelf.add(1000, 100, ring="v1")  # next to nothing in it
    with office(plan(shelf.directory)) as one:
        one.wait_idle()
        shelf.check()
        shelf.add(4)
        done = one.wait_idle()
        assert (done.indexed, done.compressed, done.paused, done.level) == (5, 5, False, 3)
        assert done.raw_bytes == sum(map(len, shelf.contents.values()))
        sizes = [(shelf.directory / each.path).stat().st_size for each in shelf.segments]
        assert done.compressed_bytes == sum(sizes)
        assert not one.events
    shelf.check()
    for each in shelf.segments:
        path = shelf.directory / each.path
        assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()
        subprocess.run(["zstd", "-tq", str(path)], check=True)


@pytest.mark.fault(27)
def test_other_programs_read_a_large_one(shelf: Shelf) -> None:
    """One zstd frame of more than tshark buffers, with every packet, and no complaint."""
    need("zstd", "tshark", "tcpdump", "capinfos")
    shelf.add(1, 24 * MIB)
    with office(plan(shelf.directory, section_size=4 * MIB)) as one:
        one.wait_idle()
    (segment,) = shelf.segments
    path = shelf.directory / segment.path
    assert path.stat().st_size > 4 * MIB
    listed = subprocess.run(["zstd", "-lv", str(path)], capture_output=True, text=True, check=True)
    assert "# Zstandard Frames: 1" in listed.stdout
    assert "Check: XXH64" in listed.stdout
    count = index_of(path).packets
    judge.assert_clean(path)
    assert sum(1 for _ in judge.packets(path)) == count
    argv = ["capinfos", "-Mc", str(path)]
    counted = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert f"Number of packets:   {count}" in counted.stdout


def test_without_compression_there_is_an_index(shelf: Shelf) -> None:
    """And with it switched on later, what was left raw is compressed."""
    for seq in (1, 2):
        shelf.add(seq)
    with office(plan(shelf.directory, compress=False)) as one:
        done = one.wait_idle()
        assert (done.indexed, done.compressed, done.level) == (2, 0, 0)
        shelf.check(compressed=False)
        one.adjust(compress=True)
        done = one.wait_idle()
        assert (done.indexed, done.compressed) == (2, 2)
    shelf.check()


def test_another_number_of_threads_and_another_directory(shelf: Shelf, tmp_path: Path) -> None:
    """The same process goes on, and counts on."""
    shelf.add(1)
    other = Shelf(tmp_path / "other")
    with office(plan(shelf.directory)) as one:
        one.wait_idle()
        other.add(1)
        other.add(2)
        one.adjust(directory=str(other.directory), threads=2)
        done = one.wait_report(compressed=3, backlog=0)
        assert done.indexed == 3
    other.check()


def test_a_suspect_is_indexed_and_stays(shelf: Shelf) -> None:
    """What the disk refused to confirm is not touched."""
    path = shelf.add(1, suffix=SUSPECT_SUFFIX.removeprefix(".pcapng"))
    with office(plan(shelf.directory)) as one:
        one.wait_idle()
    assert shelf.files == [path.name, f"{path.name}.idx"]
    assert read_back(path) == shelf.contents[1]


@pytest.mark.parametrize("harm", ["torn", "garbage", "empty"])
def test_a_damaged_segment_is_told_of_once_and_left_alone(shelf: Shelf, harm: str) -> None:
    """And the others go on."""
    path = shelf.add(1)
    shelf.add(2)
    content = shelf.contents.pop(1)
    bad = {
        "torn": content[:-6],
        "garbage": content[: MIB // 4 * 4] + b"\xff" * 64 + content[MIB // 4 * 4 :],
        "empty": b"",
    }[harm]
    path.write_bytes(bad)
    with office(plan(shelf.directory)) as one:
        wait_for(lambda: one.events, 20, "a word about it")
        one.wait_report(compressed=1, backlog=0)
        for _ in range(3):
            one.look()
            time.sleep(0.3)
        (event,) = one.events
        assert (event.name, path.name in event.text) == ("SEGMENT_DAMAGED", True)
    assert path.read_bytes() == bad
    path.unlink()
    shelf.check()


@pytest.mark.fault(37)
def test_only_what_is_its_own(shelf: Shelf, tmp_path: Path) -> None:
    """Links, folders, other people's files and other names stay as they are."""
    linked = shelf.add(1)
    os.link(linked, tmp_path / "held")
    foreign = shelf.add(2)
    os.chown(foreign, 12345, 12345)
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    names = [f"v0_20250721T000009.000000000Z_{seq:010d}.pcapng" for seq in range(9, 13)]
    (linked.parent / names[0]).symlink_to(precious)
    (linked.parent / names[1]).mkdir()
    (linked.parent / f"{names[2]}.zst.part").symlink_to(precious)
    (linked.parent / f"{names[3]}.idx.part").mkdir()
    (linked.parent / "notes.idx").write_bytes(b"mine")
    os.mkfifo(linked.parent / "v0_20250721T000013.000000000Z_0000000013.pcapng")
    before = sorted(os.listdir(linked.parent))
    shelf.add(3)
    with office(plan(shelf.directory)) as one:
        one.wait_report(compressed=1, backlog=0)
        time.sleep(0.5)
        assert not one.events
    after = {name for name in os.listdir(linked.parent) if "_0000000003." not in name}
    assert sorted(after) == before
    assert precious.read_bytes() == b"precious"
    assert linked.read_bytes() == shelf.contents[1]


@pytest.mark.fault(26)
def test_leftovers_go_and_the_compressed_form_counts(shelf: Shelf) -> None:
    """What a process that died left: drafts, an index without data, both forms of a segment."""
    raw = shelf.add(1)
    with office(plan(shelf.directory)) as one:
        one.wait_idle()
    raw.write_bytes(shelf.contents[1])
    Path(f"{raw}.idx").write_bytes(b"of the raw one")
    other = shelf.add(2)
    for end in (".zst.part", ".zst.idx.part", ".zst.idx", ".idx.part"):
        Path(f"{other}{end}").write_bytes(b"half")
    gone = other.with_name(other.name.replace("_0000000002", "_0000000077"))
    for end in (".idx", ".zst.part", ".suspect.idx"):
        Path(f"{gone}{end}").write_bytes(b"half")
    with office(plan(shelf.directory)) as one:
        one.wait_report(backlog=0, compressed=1)
        wait_for(lambda: len(shelf.files) == 4, 10, "nothing else")
        assert not one.events
    shelf.check()


@pytest.mark.fault(26)
def test_both_forms_but_the_compressed_one_is_not_whole(shelf: Shelf) -> None:
    """Then it is somebody else's, perhaps in work: the raw one stays."""
    raw = shelf.add(1)
    Path(f"{raw}.zst").write_bytes(b"\x28\xb5\x2f\xfd half of it")
    with office(plan(shelf.directory)) as one:
        wait_for(lambda: one.events, 20, "a word about it")
        one.look()
        time.sleep(0.5)
        assert [event.name for event in one.events] == ["SEGMENT_DAMAGED"]
    assert raw.read_bytes() == shelf.contents[1]


@pytest.mark.fault(23, 25)
@pytest.mark.parametrize("harm", ["missing", "garbage", "of another file"])
@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "raw"])
def test_an_index_is_made_again(shelf: Shelf, compressed: bool, harm: str) -> None:
    """Just as it was, whichever way it was lost."""
    shelf.add(1, 8 * SECTION)
    other = shelf.add(2)
    with office(plan(shelf.directory, compress=compressed)) as one:
        one.wait_idle()
    path, other = (shelf.directory / each.path for each in shelf.segments)
    lost = Path(f"{path}.idx")
    content = lost.read_bytes()
    assert len(index_of(path).sections) > 5
    if harm == "missing":
        lost.unlink()
    else:
        lost.write_bytes(Path(f"{other}.idx").read_bytes() if "of" in harm else b"nonsense")
    with office(plan(shelf.directory, compress=compressed)) as one:
        wait_for(lambda: lost.exists() and lost.read_bytes() == content, 20, "the index")
        one.wait_idle()
        assert not one.events
    shelf.check(compressed=compressed)


def test_nothing_stays_in_the_page_cache(shelf: Shelf) -> None:
    """Neither what was read nor what was written; also by the reading of indexes."""
    need("fincore")
    held = shelf.add(1, 8 * MIB)
    assert _cached(held) == 0
    with office(plan(shelf.directory, compress=False)) as one:
        one.wait_idle()
        assert _cached(held, Path(f"{held}.idx")) == 0
    with office(plan(shelf.directory)) as one, held.open("rb") as raw:
        one.wait_idle()
        (segment,) = shelf.segments
        files = [shelf.directory / file for file in segment.files]
        assert segment.suffix == ".pcapng.zst"
        assert _cached(Path(f"/proc/{os.getpid()}/fd/{raw.fileno()}"), *files) == 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cached(*files: Path) -> int:
    argv = ["fincore", "--noheadings", "--bytes", "--output", "RES", *map(str, files)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return sum(map(int, said.split()))


def test_a_directory_that_is_not_there(shelf: Shelf) -> None:
    """Is told of once, and found when it comes; and told of again when it goes again."""
    away = shelf.directory.with_name(f"{shelf.directory.name}-away")
    shelf.add(1)
    shelf.directory.rename(away)
    with office(plan(shelf.directory)) as one:
        for times in (1, 2):
            wait_for(lambda times=times: len(one.events) == times, 20, "a word about it")  # type: ignore[misc]
            one.look()
            one.wait_report(backlog=0)
            assert len(one.events) == times
            assert "No such file or directory" in one.events[-1].text
            away.rename(shelf.directory)
            one.wait_idle()
            shelf.check()
            shelf.directory.rename(away)
            one.look()


def test_a_directory_that_goes_before_the_salvage(shelf: Shelf) -> None:
    """It is waited for: the process stays, and what else it does goes on."""
    away = shelf.directory.with_name(f"{shelf.directory.name}-away")
    shelf.add(1)
    part = shelf.directory / "v0" / part_name(2)
    part.write_bytes(b"")
    with office(plan(shelf.directory)) as one:
        one.wait_idle()
        shelf.directory.rename(away)
        one.send(Salvage("v0", (2,)))
        one.look()
        wait_for(lambda: one.events, 20, "a word about it")
        away.rename(shelf.directory)
        wait_for(lambda: not part.exists(), 20, "the salvage")
        assert one.alive
