"""The ledger's files: appended and read, cut short anywhere, rotated, bounded, never led astray."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from capd import ledger
from capd.catalog import Catalog
from capd.daemon import ledger_folder
from capd.daemon.ledger_folder import SAMPLE_FILES, LedgerFolder, Place
from capd.errors import StorageError
from capd.ledger import RECORDS, RECORDS_BEFORE, is_samples, samples_name
from capd.losses import Loss, encode
from capd.names import LEDGER_FOLDER
from capd.query.holdings import holdings, look
from capd.units import SECOND
from tests.support.need import need_root

NOON = 1_763_985_600 * SECOND  # 2025-11-24 12:00:00 UTC


def loss(number: int, cause: str = "why") -> Loss:
    return Loss("v0", "ring", NOON + number * SECOND, NOON + (number + 1) * SECOND, number, cause)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LedgerFolder]:
    with ledger_folder.opened(Place(str(tmp_path), require_mount=False)) as folder:
        yield folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / LEDGER_FOLDER


def read(place: Path) -> ledger.Records:
    with ledger.opened(str(place.parent)) as folder:
        assert folder is not None
        return ledger.records(folder)


def test_records_and_samples(writer: LedgerFolder, place: Path) -> None:
    """As they were given; readable by the owner and the group, and by nobody else."""
    name = samples_name("v0", "ring", NOON + 1)
    assert name == "20251124T120000.000000001Z_v0_ring.jsonl"
    writer.append([loss(1), loss(2)])
    writer.save(name, [{"at": NOON, "waiting": 3}, {"at": NOON + 1, "psi": {"io": 0.5}}])
    writer.append([replace(loss(3), samples=name)])
    assert read(place).losses == [loss(1), loss(2), replace(loss(3), samples=name)]
    assert read(place).troubles == []
    with ledger.opened(str(place.parent)) as folder:
        assert folder is not None
        found, broken = ledger.samples(folder, name)
    assert found == [{"at": NOON, "waiting": 3}, {"at": NOON + 1, "psi": {"io": 0.5}}]
    assert broken == 0
    assert sorted(os.listdir(place)) == [name, RECORDS]
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (place, *place.iterdir())]
    assert all(mode & 0o027 == 0 for mode in modes), modes


def test_names_of_samples() -> None:
    """Of any interface, and of the machine; nothing that leads elsewhere."""
    assert samples_name("", "backlog", 0) == "19700101T000000.000000000Z_machine_backlog.jsonl"
    for interface in ("", "eth0", "a_b.c", "網", "..", "_ring.jsonl"):
        assert is_samples(samples_name(interface, "capd", NOON))
    for name in (RECORDS, RECORDS_BEFORE, "", "x.jsonl", "../" + samples_name("v0", "ring", 1)):
        assert not is_samples(name)


def test_cut_anywhere(writer: LedgerFolder, place: Path) -> None:
    """What is whole is read, the rest is counted, and what is appended then is whole as well."""
    writer.append([loss(1, "é\n"), loss(2)])
    content = (place / RECORDS).read_bytes()
    ends = [at for at, byte in enumerate(content) if byte == ord("\n")]
    for size in range(len(content) + 1):
        (place / RECORDS).write_bytes(content[:size])
        whole = [loss(1, "é\n"), loss(2)][: sum(end <= size for end in ends)]
        cut = size not in (0, *ends, *(end + 1 for end in ends))
        found = read(place)
        assert (found.losses, len(found.troubles)) == (whole, int(cut)), size
        writer.append([loss(3)])
        found = read(place)
        assert (found.losses, len(found.troubles)) == ([*whole, loss(3)], int(cut)), size


@pytest.mark.fault(23)
def test_any_byte_changed_costs_one_record_at_the_most(writer: LedgerFolder, place: Path) -> None:
    writer.append([loss(number) for number in range(3)])
    content = (place / RECORDS).read_bytes()
    for at in range(len(content)):
        for byte in (0, 10, 255, content[at] ^ 1):
            (place / RECORDS).write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
            found = read(place).losses
            known = [one for one in found if one in (loss(0), loss(1), loss(2))]
            assert len(known) >= (1 if content[at] == 10 else 2), (at, byte)


def test_rotation(writer: LedgerFolder, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are kept, in two files that are no larger than they may be."""
    monkeypatch.setattr(ledger, "MOST", 4000)
    for number in range(100):
        writer.append([loss(number)])
        assert all(path.stat().st_size <= 4000 for path in place.iterdir())
    numbers = [one.packets for one in read(place).losses]
    assert numbers == list(range(100 - len(numbers), 100))
    assert 4000 < len("".join(encode(loss(number)) + "\n" for number in range(len(numbers)))) < 8000
    assert sorted(os.listdir(place)) == [RECORDS_BEFORE, RECORDS]
    with ledger.opened(str(place.parent)) as folder:
        assert folder is not None
        tail = ledger.records(folder, 1000).losses
    assert tail[-1] == loss(99)
    assert 2 < len(tail) < 20


def test_told_twice_is_shown_once(writer: LedgerFolder, place: Path) -> None:
    """By a daemon that was killed before it noted that it had told."""
    writer.append([loss(1), loss(2)])
    writer.append([replace(loss(2), cause="another"), loss(3)])
    assert read(place).losses == [loss(1), loss(2), loss(3)]


def test_the_newest_samples_are_kept(writer: LedgerFolder, place: Path) -> None:
    """What a daemon left that died goes; what somebody else put there or keeps stays."""
    names = [samples_name("v0", "ring", NOON + number) for number in range(SAMPLE_FILES + 9)]
    (place / "notes.txt").write_text("mine")
    (place / f"{names[0]}.part").write_text("half")
    elsewhere = place.parent / "elsewhere"
    elsewhere.write_text("{}")
    os.symlink(elsewhere, place / names[0])
    writer.save(names[1], [{"kept": True}])
    os.link(place / names[1], place / "kept")
    for name in names[2:]:
        writer.save(name, [{}])
    found = set(os.listdir(place))
    assert found - set(names) == {"notes.txt", "kept"}
    assert found & set(names) == {*names[:2], *names[9:]}
    assert elsewhere.read_text() == "{}"
    writer.save(names[-1], [{"another": 1}])  # told again by a daemon that was killed then
    assert (place / names[-1]).read_text() == "{}\n"
    early = samples_name("v0", "ring", 0)  # somebody set the clock back
    writer.save(early, [{}])
    assert early in os.listdir(place)


@pytest.mark.parametrize("name", [RECORDS, RECORDS_BEFORE])
def test_what_is_in_the_way_is_not_followed(
    tmp_path: Path, place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link, a pipe, a folder: refused, with words; nothing else is written to, nor read."""
    target = tmp_path / "target"
    target.write_text(f"{encode(loss(9))}\n")
    monkeypatch.setattr(ledger, "MOST", 300)
    with ledger_folder.opened(Place(str(tmp_path), require_mount=False)) as writer:
        for make in (
            lambda path: os.symlink(target, path),
            os.mkfifo,
            os.mkdir,
        ):
            if name == RECORDS_BEFORE:
                writer.append([loss(1)])
            make(place / name)
            with pytest.raises((OSError, StorageError)):
                writer.append([loss(2)])
            found = read(place)
            assert [one.packets for one in found.losses] == [1] * (name == RECORDS_BEFORE)
            assert found.troubles
            assert name in found.troubles[0]
            (place / name).rmdir() if (place / name).is_dir() else (place / name).unlink()
            (place / RECORDS).unlink(missing_ok=True)
    assert target.read_text() == f"{encode(loss(9))}\n"


def test_the_folder_itself(tmp_path: Path, place: Path) -> None:
    """Made where it is missing, but not the directory around it; no link in its place."""
    inside = Place(str(tmp_path), require_mount=False)
    with ledger.opened(str(tmp_path)) as folder:
        assert folder is None
    place.symlink_to(tmp_path)
    for failing in (ledger.opened(str(tmp_path)), ledger_folder.opened(inside)):
        with pytest.raises((StorageError, OSError)), failing:
            pass
    place.unlink()
    missing = Place(str(tmp_path / "missing"), require_mount=False)
    with pytest.raises(FileNotFoundError), ledger_folder.opened(missing):
        pass
    with pytest.raises(StorageError, match="cannot read"), ledger.opened(missing.directory):
        pass
    assert os.listdir(tmp_path) == []


def test_nothing_on_the_root_disk_without_its_mount() -> None:
    """`require_mount` holds for the ledger, too: neither written nor read."""
    need_root()
    directory = Path(tempfile.mkdtemp(prefix="capd-test-", dir="/"))
    place = Place(str(directory), require_mount=True)
    try:
        with pytest.raises(StorageError, match="require_mount"), ledger_folder.opened(place):
            pass
        with pytest.raises(StorageError, match="require_mount"):
            ledger_folder.newest(place, 1000)
    finally:
        directory.rmdir()  # nothing is in it


def test_it_is_no_ring(writer: LedgerFolder, tmp_path: Path) -> None:
    """Whoever looks after segments sees nothing of it, whatever is in it."""
    writer.append([loss(1)])
    folder = tmp_path / LEDGER_FOLDER
    (folder / "0000000007.pcapng.part").write_bytes(b"x")
    (folder / "2025-11-24").mkdir()
    stray = f"{LEDGER_FOLDER}_20251124T120000.000000000Z_0000000001.pcapng"
    (folder / "2025-11-24" / stray).write_bytes(b"x")
    assert Catalog(str(tmp_path)).scan() == {}
    places, troubles = look([str(tmp_path)])
    assert (list(holdings(places)), troubles) == ([], [])
