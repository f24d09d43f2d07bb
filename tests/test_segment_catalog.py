"""What a capture directory holds: only capd's own files, seen again as soon as they change."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from capd import catalog as catalogs
from capd.catalog import Catalog, RingFiles, everything
from capd.errors import StorageError
from capd.names import SegmentName
from tests.support.wait import wait_for

START = 1_790_000_000 * 10**9
DAY = 86_400 * 10**9


def put(directory: Path, name: SegmentName, *suffixes: str, size: int = 0) -> Path:
    """A segment's files; gives the first one's path."""
    folder = directory / name.ring / name.folder
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.file.removesuffix(name.suffix)
    paths = [folder / f"{stem}{suffix}" for suffix in suffixes or (name.suffix,)]
    for path in paths:
        path.write_bytes(bytes(size))
    return paths[0]


def settle(directory: Path) -> None:
    """Let every folder look as if it had not changed for long."""
    for folder in [directory, *directory.rglob("*")]:
        if folder.is_dir():
            os.utime(folder, ns=(START, START))


def found(directory: Path) -> dict[str, RingFiles]:
    return Catalog(str(directory)).scan()


def test_rings_in_order_of_numbers(tmp_path: Path) -> None:
    """Over several days, whatever the clock did."""
    for seq, stamp in ((3, START - DAY), (1, START), (2, START + DAY)):
        put(tmp_path, SegmentName("eth0", stamp, seq))
    put(tmp_path, SegmentName("eth0:1", START, 1))
    (tmp_path / "eth0" / "0000000004.pcapng.part").write_bytes(bytes(5000))
    rings = found(tmp_path)
    assert [segment.seq for segment in rings["eth0"].segments] == [1, 2, 3]
    assert [part.seq for part in rings["eth0"].parts] == [4]
    assert rings["eth0"].parts[0].size == 8192
    assert [segment.ring for segment in everything(rings)] == ["eth0"] * 3 + ["eth0:1"]
    (first, *_) = rings["eth0"].segments
    assert first.path == f"eth0/2026-09-21/{SegmentName('eth0', START, 1).file}"
    assert first.files == (first.path,)
    assert first.own
    assert not first.indexed


def test_files_that_belong_together(tmp_path: Path) -> None:
    """Compressed data count more than raw; an index belongs to what it is named after."""
    name = SegmentName("eth0", START, 7)
    put(tmp_path, name, ".pcapng", ".pcapng.idx", size=4096)
    (segment,) = found(tmp_path)["eth0"].segments
    assert (segment.suffix, segment.indexed, segment.size) == (".pcapng", True, 8192)
    put(tmp_path, name, ".pcapng.zst", size=4096)
    (segment,) = found(tmp_path)["eth0"].segments
    assert (segment.suffix, segment.indexed, segment.size) == (".pcapng.zst", False, 12288)
    assert segment.path.endswith(".pcapng.zst")
    stem = segment.path.removesuffix(".pcapng.zst")
    ours = (f"{stem}.pcapng", f"{stem}.pcapng.idx", f"{stem}.pcapng.zst")
    assert segment.files == ours
    put(tmp_path, name, ".pcapng.zst.idx")
    (segment,) = found(tmp_path)["eth0"].segments
    assert segment.indexed


def test_suspects_and_what_was_set_aside(tmp_path: Path) -> None:
    put(tmp_path, SegmentName("eth0", START, 7, ".pcapng.suspect"))
    (tmp_path / "eth0" / "0000000006.pcapng.damaged").write_bytes(b"x")
    aside, suspect = found(tmp_path)["eth0"].segments
    assert (aside.seq, aside.path, aside.files) == (
        *(6, "eth0/0000000006.pcapng.damaged"),
        ("eth0/0000000006.pcapng.damaged",),
    )
    assert (suspect.seq, suspect.suffix) == (7, ".pcapng.suspect")


@pytest.mark.fault(26)
def test_leftovers(tmp_path: Path) -> None:
    """Of something that was being made, and indexes of nothing."""
    name = SegmentName("eth0", START, 7)
    made = [".pcapng.zst.part", ".pcapng.zst.idx.part", ".pcapng.zst.idx"]
    put(tmp_path, name, ".pcapng", ".pcapng.idx", *made)
    put(tmp_path, name._replace(seq=8), ".pcapng.idx")
    files = found(tmp_path)["eth0"]
    assert [segment.suffixes for segment in files.segments] == [(".pcapng", ".pcapng.idx")]
    names = sorted(path.partition("Z_")[2] for path in files.leftovers)
    assert names == sorted([*(f"0000000007{one}" for one in made), "0000000008.pcapng.idx"])


@pytest.mark.fault(37)
def test_what_is_not_capds(tmp_path: Path) -> None:
    """Under its names or others: not seen, or seen and not to be deleted."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    name = SegmentName("eth0", START, 1)
    folder = put(tmp_path, name).parent
    (folder / name._replace(seq=2).file).mkdir()
    os.mkfifo(folder / name._replace(seq=3).file)
    (folder / name._replace(seq=4).file).symlink_to(precious)
    os.link(precious, folder / name._replace(seq=5).file)
    strange = put(tmp_path, name._replace(seq=6))
    os.chown(strange, 12345, 12345)
    for foreign in ("notes.txt", name._replace(ring="eth9", seq=7).file, "0000000001.pcapng"):
        (folder / foreign).write_bytes(b"")
    (tmp_path / "eth0" / "2026-99-99x").mkdir()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "eth7").symlink_to(tmp_path / "eth0")
    (tmp_path / "eth0" / "2026-09-22").symlink_to(folder)
    rings = found(tmp_path)
    assert [(one.seq, one.own) for one in rings["eth0"].segments] == [
        *((1, True), (5, False), (6, False)),
    ]
    assert rings["eth0"].leftovers == []
    assert rings["lost+found"] == RingFiles()
    assert "eth7" not in rings


def test_owner_of_the_directory(tmp_path: Path) -> None:
    """What capd wrote as its user is capd's, also to root."""
    os.chown(put(tmp_path, SegmentName("eth0", START, 1)), 12345, 12345)
    os.chown(tmp_path, 12345, 12345)
    (segment,) = found(tmp_path)["eth0"].segments
    assert segment.own


def test_what_becomes_capds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup's link goes, or root gives the files away: no folder changes by that."""
    linked, given = (put(tmp_path, SegmentName("eth0", START, seq)) for seq in (1, 2))
    os.link(linked, tmp_path / "backup")
    os.chown(given, 12345, 12345)
    settle(tmp_path)
    monkeypatch.setattr(catalogs, "FOREIGN", 0.1)
    catalog = Catalog(str(tmp_path))

    def own() -> list[bool]:
        return [segment.own for segment in everything(catalog.scan())]

    assert own() == [False, False]
    (tmp_path / "backup").unlink()
    os.chown(given, 0, 0)
    wait_for(lambda: own() == [True, True], 20, "another look at both")


def test_changes_are_seen(tmp_path: Path) -> None:
    """At once after one another, and in folders that were quiet for long."""
    catalog = Catalog(str(tmp_path))
    name = SegmentName("eth0", START, 1)
    for seq in range(1, 40):
        put(tmp_path, name._replace(seq=seq))
        if seq % 3 == 0:
            settle(tmp_path)
        assert len(catalog.scan()["eth0"].segments) == seq
        put(tmp_path, name._replace(seq=seq), ".pcapng.idx")
        assert catalog.scan()["eth0"].segments[-1].indexed
    put(tmp_path, name._replace(seq=3)).unlink()
    assert [segment.seq for segment in catalog.scan()["eth0"].segments][:3] == [1, 2, 4]


def test_what_is_renamed_meanwhile_is_seen(tmp_path: Path) -> None:
    """In every look each segment is there, as the one that is written or as a finished one."""
    ring, dates = tmp_path / "eth0", [START + day * DAY for day in range(20)]
    ring.mkdir()
    parts = {seq: ring / f"{seq:010}.pcapng.part" for seq in range(1, 1001)}
    for part in parts.values():
        part.touch()

    def finish() -> None:
        for seq, part in parts.items():
            name = SegmentName("eth0", dates[seq * len(dates) // 1001], seq)
            folder = ring / name.folder
            folder.mkdir(exist_ok=True)
            part.rename(folder / name.file)

    thread, looks = threading.Thread(target=finish), 0
    catalog = Catalog(str(tmp_path))
    thread.start()
    while thread.is_alive():
        files = catalog.scan()["eth0"]
        seen = {part.seq for part in files.parts} | {one.seq for one in files.segments}
        assert seen == parts.keys()
        looks += 1
    assert looks > 1


def test_an_unchanged_folder_is_not_read_again(tmp_path: Path) -> None:
    """Its files are the same objects."""
    catalog = Catalog(str(tmp_path))
    put(tmp_path, SegmentName("eth0", START, 1))
    settle(tmp_path)
    first, second = catalog.scan(), catalog.scan()
    assert first["eth0"].segments[0] is second["eth0"].segments[0]


def test_a_folder_that_goes(tmp_path: Path) -> None:
    catalog = Catalog(str(tmp_path))
    path = put(tmp_path, SegmentName("eth0", START, 1))
    settle(tmp_path)
    assert list(everything(catalog.scan()))
    path.unlink()
    path.parent.rmdir()
    assert list(everything(catalog.scan())) == []
    (tmp_path / "eth0").rmdir()
    assert catalog.scan() == {}


def test_a_directory_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "absent", tmp_path / "link"):
        with pytest.raises(StorageError, match=f"cannot read {path}: "):
            found(path)
