"""The daemon's hand on the ledger: disks that are full, missing or in the way lose no record."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from capd import ledger
from capd import status as statuses
from capd.daemon import book as books
from capd.daemon.book import Book
from capd.daemon.lookout import Lookout
from capd.daemon.rings import Rings
from capd.events import Kind
from capd.ledger import RECORDS, samples_name
from capd.losses import Loss
from capd.names import LEDGER_FOLDER
from capd.runtime import RuntimeDirectory
from capd.status import Status
from capd.units import SECOND
from tests.support.disk import mounted
from tests.support.need import need, need_root
from tests.support.wait import wait_for

NOON = 1_763_985_600 * SECOND
RETRY = 0.05


def loss(number: int, cause: str = "why") -> Loss:
    return Loss("v0", "ring", NOON + number, NOON + number, number, cause)


@pytest.fixture
def book() -> Iterator[Book]:
    made = Book(retry=RETRY)
    yield made
    made.end(10)
    assert not made.is_alive()


def packets(directory: Path) -> list[int | None]:
    with ledger.opened(str(directory)) as folder:
        return [] if folder is None else [one.packets for one in ledger.records(folder).losses]


def told(caplog: pytest.LogCaptureFixture, kind: Kind) -> list[str]:
    return [
        one.getMessage() for one in caplog.records if vars(one).get("MESSAGE_ID") == kind.message_id
    ]


def refused(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: told(caplog, Kind.LEDGER_REFUSED)


def test_in_order_and_from_before(book: Book, tmp_path: Path) -> None:
    """Records from before there was a place are not lost; another daemon reads the newest."""
    book.note(loss(1))
    assert not book.settle(0)
    book.adjust(str(tmp_path), require_mount=False)
    for number in range(2, 500):
        book.note(loss(number))
    name = samples_name("v0", "ring", NOON)
    book.save(name, [{"at": NOON}])
    assert book.settle(10)
    assert packets(tmp_path) == list(range(1, 500))
    assert (tmp_path / LEDGER_FOLDER / name).read_text() == f'{{"at": {NOON}}}\n'
    assert book.recall() == []
    book.note(loss(500))
    book.end(10)
    another = Book()
    another.adjust(str(tmp_path), require_mount=False)
    another.note(loss(501))
    found = wait_for(another.recall, 10, "the records to be read")
    assert [one.packets for one in found] == list(range(1, 501))
    assert another.recall() == []
    another.end(10)
    assert packets(tmp_path) == list(range(1, 502))


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_full_disk(
    book: Book, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once, and once that it is over; then everything is there, once and in order."""
    need("mount", "umount", "mkfs.ext4")
    need_root()
    caplog.set_level("INFO")
    with mounted(kind, tmp_path, 8 * 2**20) as disk:
        book.adjust(str(disk.path), require_mount=True)
        book.note(loss(0))
        assert book.settle(10)
        disk.fill()
        for number in range(1, 1000):  # more than the file's last block holds
            book.note(loss(number))
        book.save(samples_name("v0", "ring", NOON), [{"waiting": 3}] * 1000)
        (said,) = wait_for(refused(caplog), 10, "to be told")
        assert f"{disk.path}/{LEDGER_FOLDER}: No space left on device" in said
        before = packets(disk.path)
        assert before == list(range(len(before)))
        assert not book.settle(10)
        disk.clear()
        assert wait_for(lambda: book.settle(1), 10, "it to be written")
        assert packets(disk.path) == list(range(1000))
        with ledger.opened(str(disk.path)) as folder:
            assert folder is not None
            assert ledger.records(folder).troubles == []
            saved = ledger.samples(folder, samples_name("v0", "ring", NOON))
            assert saved == ([{"waiting": 3}] * 1000, 0)
        book.end(10)
    assert len(told(caplog, Kind.LEDGER_REFUSED)) == 1
    assert len(told(caplog, Kind.LEDGER_RECOVERED)) == 1


def test_whatever_is_in_the_way(
    book: Book, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No directory, a link or a file in place of the folder, a link in place of the records."""
    caplog.set_level("INFO")
    directory, elsewhere = tmp_path / "captures", tmp_path / "elsewhere"
    elsewhere.mkdir()
    place, count = directory / LEDGER_FOLDER, 0
    book.adjust(str(directory), require_mount=False)

    def told_again() -> bool:
        return len(told(caplog, Kind.LEDGER_REFUSED)) == count

    for block, unblock in (
        (lambda: None, directory.mkdir),
        (lambda: place.symlink_to(elsewhere), place.unlink),
        (lambda: place.write_text("mine"), place.unlink),
        (lambda: _links(place, elsewhere), (place / RECORDS).unlink),
    ):
        block()
        book.note(loss(count))
        count += 1
        wait_for(told_again, 10, f"refusal {count}")
        assert os.listdir(elsewhere) == []
        unblock()
        assert wait_for(lambda: book.settle(1), 10, "it to be written")
        (place / RECORDS).rename(elsewhere / "records")
        place.rmdir()
        assert (elsewhere / "records").read_text().count("\n") == 1
        (elsewhere / "records").unlink()
    assert len(told(caplog, Kind.LEDGER_RECOVERED)) == count == 4


def _links(place: Path, elsewhere: Path) -> None:
    place.mkdir()
    (place / RECORDS).symlink_to(elsewhere / "records")


def test_what_waits_is_bounded(
    book: Book, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are kept; how many were given up is told."""
    caplog.set_level("INFO")
    monkeypatch.setattr(books, "HELD", 50)
    directory = tmp_path / "captures"
    book.adjust(str(directory), require_mount=False)
    for number in range(120):
        book.note(loss(number))
    for number in range(books.HELD_SAMPLES + 5):
        book.save(samples_name("v0", "ring", NOON + number), [{}])
    wait_for(refused(caplog), 10, "to be told")
    directory.mkdir()
    assert wait_for(lambda: book.settle(1), 10, "it to be written")
    assert packets(directory) == list(range(70, 120))
    assert len(os.listdir(directory / LEDGER_FOLDER)) == books.HELD_SAMPLES + 1
    wait_for(lambda: told(caplog, Kind.LEDGER_RECOVERED), 10, "to be told")
    (said,) = told(caplog, Kind.LEDGER_RECOVERED)
    assert re.search(r"50 records that waited; 70 older ones were too many", said)


def test_another_directory(book: Book, tmp_path: Path) -> None:
    """By a reload: what waits for one that is not there goes to the one that is."""
    book.adjust(str(tmp_path / "missing"), require_mount=False)
    book.note(loss(1))
    wait_for(lambda: not book.settle(0.01), 10, "it to wait")
    book.adjust(str(tmp_path), require_mount=False)
    assert wait_for(lambda: book.settle(1), 10, "it to be written")
    book.note(replace(loss(2), cause="after"))
    assert book.settle(10)
    assert packets(tmp_path) == [1, 2]
    assert not (tmp_path / "missing").exists()


def test_what_the_disk_refused_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is in its last status; the next one of the same config puts it on record, once."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    directory, runtime = tmp_path / "captures", RuntimeDirectory()

    def lookout(config: str = "capd.toml") -> Lookout:
        made = Lookout(config, runtime, Rings(), foreground=False)
        made.ledger.book.adjust(str(directory), require_mount=False)
        return made

    def publish(losses: Iterable[Loss]) -> None:
        status = Status("1", 1, "capd.toml", NOON, NOON, "running", None, losses=list(losses))
        statuses.write(runtime.status, status)

    publish([loss(1), loss(2)])
    first = lookout()
    first.ledger.book.note(loss(3))
    first.ledger.losses.append(loss(3))
    assert first.leave()  # it has to be published
    publish(first.ledger.losses)
    first.ledger.book.end(10)
    directory.mkdir()
    for config, found in (("another", []), ("capd.toml", [1, 2, 3]), ("capd.toml", [1, 2, 3])):
        book = lookout(config).ledger.book
        book.end(10)
        assert packets(directory) == found
    assert (directory / LEDGER_FOLDER / RECORDS).read_text().count("\n") == 3


def test_the_end_waits_for_no_disk(book: Book, tmp_path: Path) -> None:
    """And a book that never had a place just ends."""
    Book().end(10)
    book.adjust(str(tmp_path / "missing"), require_mount=False)
    book.note(loss(1))
    book.end(10)
    assert not book.is_alive()
    assert not book.settle(10)
