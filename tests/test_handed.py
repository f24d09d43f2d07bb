"""The numbers of segments that were handed over, and the file of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.daemon import handed
from capd.daemon.handed import Handed
from capd.errors import StorageError
from capd.names import HANDED_FILE

NUMBERS = st.lists(st.integers(1, 40), max_size=40)


@given(NUMBERS, NUMBERS)
def test_it_is_a_set(added: list[int], undone: list[int]) -> None:
    """In as few ranges as can be, which come back from the file as they were."""
    waiting = {"v0": handed.ranges(sorted({*undone})), "w0": ((3, 4),)}
    found = Handed({"w0": ((3, 3),)}, waiting)
    for seq in added:
        found.add("v0", seq)
    assert [seq for seq in range(50) if found.has("v0", seq)] == sorted(set(added))
    assert found.last("v0") == max(added, default=0)
    runs = sum(seq - 1 not in added for seq in set(added))
    assert len(found.rings.get("v0", ())) == runs
    again = handed.decode(handed.encode(found))
    assert (again.rings, again.waiting) == (found.rings, waiting)
    assert {*again.undone()} == {("v0", seq) for seq in {*undone} - {*added}} | {("w0", 4)}
    assert len(waiting["v0"]) == sum(seq - 1 not in undone for seq in {*undone})
    found.all_but("v0", undone)
    numbers = range(1, max(added, default=0) + 1)
    kept = [seq for seq in numbers if seq in added or seq not in undone]
    assert [seq for seq in range(50) if found.has("v0", seq)] == kept
    assert found.has("w0", 3)


def test_the_file_of_an_older_version() -> None:
    """It does not say what was waiting; and what somebody else wrote there is not all believed."""
    assert [*handed.decode('{"format": 1, "rings": {"v0": [[1, 7]]}}').undone()] == []
    endless = '{"format": 1, "rings": {}, "waiting": {"v0": [[1, 1000000000000000]]}}'
    assert sum(1 for _ in handed.decode(endless).undone()) == handed.MOST_WAITING


def test_no_file_is_written_that_would_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather one that does not say what was waiting."""
    found = Handed({"v0": ((1, 7),)}, {"v0": ((9, 9),)})
    monkeypatch.setattr(handed, "MOST_FILE", len(handed.encode(found)) - 1)
    again = handed.decode(handed.encode(found))
    assert (again.rings, again.waiting) == (found.rings, {})


def test_the_file(tmp_path: Path) -> None:
    """There is none before the first; then it is replaced as a whole."""
    directory = str(tmp_path)
    assert handed.read(directory) is None
    for ranges in (((1, 7),), ((1, 7), (9, 12))):
        handed.write(directory, Handed({"v0": ranges}))
        found = handed.read(directory)
        assert found is not None
        assert found.rings == {"v0": ranges}
        assert os.listdir(tmp_path) == [HANDED_FILE]
    handed.remove(directory)
    handed.remove(directory)
    assert handed.read(directory) is None


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "\x00" * 9, '{"format": 2, "rings": {}}', '{"format": 1}'),
        *('{"format": 1, "rings": {"v0": 5}}', '{"format": 1, "rings": {"v0": [[2, 1]]}}'),
        *('{"format": 1, "rings": {"v0": [[1, 2], [3, 4]]}}', '{"format": 1, "rings": []}'),
        *('{"format": 1, "rings": {"v0": [["1", "2"]]}}', "[" * 100_000),
        *('{"format": 1, "rings": {}, "waiting": []}', '{"format": 1, "rings": {}, "waiting": 5}'),
        '{"format": 1, "rings": {}, "waiting": {"v0": [1]}}',
    ],
)
def test_what_is_not_such_a_file(tmp_path: Path, content: str) -> None:
    """Is not taken for an old one, nor for a new hook's; what to do is said."""
    (tmp_path / HANDED_FILE).write_text(content)
    with pytest.raises(StorageError, match="mend it, or remove it: then the hook begins anew"):
        handed.read(str(tmp_path))


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    """A link is not followed, a pipe not waited for; what cannot be written is an error."""
    path = tmp_path / HANDED_FILE
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot read"):
        handed.read(str(tmp_path))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StorageError, match="cannot read"):
        handed.read(str(tmp_path))
    with pytest.raises(StorageError, match="may be run again"):
        handed.write(f"{tmp_path}/none", Handed())
    handed.write(str(tmp_path), Handed())
    assert json.loads(path.read_text()) == {"format": 1, "rings": {}, "waiting": {}}
