"""`capd list` and `capd verify`: what there is, and whether it is what it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from capd import index as indexes
from capd.catalog import Catalog, everything
from capd.index import Index
from capd.ledger import RECORDS
from capd.losses import Loss, encode
from capd.names import LEDGER_FOLDER, SegmentName
from capd.query.verification import Verification
from capd.survey import survey
from tests.support.sections import index_of
from tests.support.traffic import START, Traffic, write_segment

CAPD = Path(sys.executable).with_name("capd")
SIZE = 300_000
SECTION = 100_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three segments of two rings: one with an index, one without, one that is being written."""
    captures = tmp_path / "captures"
    for name, indexed in (
        (SegmentName("v0", START, 1), True),
        (SegmentName("v0", START + 10**9, 2), False),
    ):
        folder = captures / name.ring / name.folder
        folder.mkdir(parents=True, exist_ok=True)
        write_segment(folder / name.file, SIZE, Traffic(pool=2**16), name.stamp)
        if indexed:
            content = (folder / name.file).read_bytes()
            (folder / name.index_file).write_bytes(indexes.encode(index_of(content, SECTION)))
    (captures / "w0").mkdir()
    (captures / "w0" / "0000000007.pcapng.part").write_bytes(b"x")
    (captures / "w0" / "0000000006.pcapng.damaged").write_bytes(b"x")
    (tmp_path / "capd.toml").write_text(
        f'[storage]\ndirectory = "{captures}"\n[[interface]]\nname = "v0"\n'
    )
    return captures


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(CAPD), *words, "--config", str(directory.parent / "capd.toml")]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def data_of(directory: Path, seq: int) -> Path:
    (segment,) = (one for one in everything(Catalog(str(directory)).scan()) if one.seq == seq)
    return directory / segment.path


def problems(directory: Path) -> list[str | None]:
    looked: list[int] = []
    found = Verification([str(directory)], ["v0"]).verdicts(looked.append)
    verdicts = [verdict.problem for verdict in found]
    assert len(looked) == 2
    return verdicts


def test_a_list(directory: Path) -> None:
    """Of what is known; the open segment is one of them."""
    done = run(directory, "list")
    assert (done.returncode, done.stderr) == (0, "")
    heading, first, second, aside, still_open, totals = done.stdout.splitlines()
    assert heading.split()[:4] == ["interface", "number", "first", "packet"]
    whole = survey(data_of(directory, 1).read_bytes(), 0, data_of(directory, 1).stat().st_size)
    assert first.split()[:2] == ["v0", "1"]
    assert first.split()[4] == f"{whole.packets:,}"
    assert first.split()[-2:] == ["-", "raw"]
    assert second.split()[3:5] == ["-", "-"]
    assert aside.split()[-1] == "damaged"
    assert still_open.split()[-1] == "open"
    assert totals.startswith("4 segments of ")
    assert totals.endswith(f"{whole.packets:,} packets, 0 lost; 3 without an index are not counted")
    assert run(directory, "list", "--interface", "w0").stdout.count("\n") == 4


def test_a_list_for_programs(directory: Path) -> None:
    found = json.loads(run(directory, "list", "--json").stdout)
    first = found["segments"][0]
    assert first["path"] == str(data_of(directory, 1))
    assert first["first"] > START
    assert first["raw_size"] == data_of(directory, 1).stat().st_size
    assert [one["state"] for one in found["segments"]] == ["raw", "raw", "damaged", "open"]
    assert found["totals"]["segments"] == 4


def test_an_empty_directory(tmp_path: Path, directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()
    assert run(directory, "list").stdout.splitlines()[1:] == [
        "0 segments of 0 B, 0 packets, 0 lost"
    ]
    done = run(directory, "verify", "--interface", "v0")
    assert (done.returncode, done.stdout) == (0, "0 segments, 0 packets: nothing to verify\n")
    directory.rmdir()
    done = run(directory, "verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot read {directory}" in done.stderr


@pytest.mark.parametrize("verb", ["list", "verify", "losses"])
def test_a_name_that_nobody_knows(directory: Path, verb: str) -> None:
    """Nothing is said of it, least of all that it is well; one that the config has is no such."""
    with (directory.parent / "capd.toml").open("a") as file:
        file.write('[[interface]]\nname = "x0"\n[[interface]]\nname = "eth*"\n')
    ledger = directory / LEDGER_FOLDER
    ledger.mkdir()
    loss = Loss("y0", "link", START, START + 1, None, "it was gone")
    (ledger / RECORDS).write_text(f"{encode(loss)}\n")
    words = (verb, "--until", "1h") if verb == "losses" else (verb,)
    for known in ("x0", "y0", "w0"):
        done = run(directory, *words, "--interface", known)
        assert done.stderr.count("incomplete") == 0
        assert done.returncode == (1 if (verb, known) == ("verify", "w0") else 0)
    done = run(directory, *words, "--interface", "eth9")
    assert done.returncode == 3
    told = "incomplete: eth9: nothing of that name is known; there is v0, w0, x0, y0\n"
    assert done.stderr == told
    assert "all whole" not in done.stdout
    assert "nothing of eth9 was lost" not in done.stdout


def test_all_whole(directory: Path) -> None:
    done = run(directory, "verify", "--interface", "v0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 segments, ")
    assert done.stdout.endswith("packets: all whole; 1 have no index to compare with\n")


def test_what_is_not_whole_is_named(directory: Path) -> None:
    """By its path and the place in it; the exit code says so."""
    path = data_of(directory, 1)
    content = bytearray(path.read_bytes())
    content[SECTION * 2 + 50] ^= 1
    path.write_bytes(content)
    done = run(directory, "verify", "--interface", "v0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{path}: ")
    assert done.stdout.startswith("2 segments, ")
    assert "1 are not whole" in done.stdout
    found = json.loads(run(directory, "verify", "--json").stdout)
    assert [one["path"] for one in found["wrong"]] == [
        *(str(path), str(directory / "w0" / "0000000006.pcapng.damaged")),
    ]


def test_every_kind_of_damage(directory: Path) -> None:
    """With an index and without one."""
    assert problems(directory) == [None, None]
    for seq in (1, 2):
        path = data_of(directory, seq)
        content = path.read_bytes()
        for damaged in (content[:-4], content[:-40], content + b"\0" * 16, content[:50], b""):
            path.write_bytes(damaged)
            found = problems(directory)
            assert found[seq - 1] is not None
            assert found[2 - seq] is None
        path.write_bytes(content)
    assert problems(directory) == [None, None]


@pytest.mark.fault(23)
def test_every_bit_of_an_index(directory: Path) -> None:
    """Whatever changes in it is seen, and nothing is believed of it."""
    (path,) = directory.glob("v0/*/*.idx")
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        assert problems(directory)[0] is not None, at
    path.write_bytes(content)


@pytest.mark.fault(25)
def test_an_index_of_something_else(directory: Path) -> None:
    """It fits the bytes of its own segment, and no other's."""
    (path,) = directory.glob("v0/*/*.idx")
    whole = indexes.decode(path.read_bytes())
    lying = whole.sections[1]._replace(packets=whole.sections[1].packets + 1)
    sections = (whole.sections[0], lying, *whole.sections[2:])
    path.write_bytes(indexes.encode(Index(*whole[:3], sections)))
    assert "tells something else" in str(problems(directory)[0])
