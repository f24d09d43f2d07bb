"""A folder that cannot be read is not taken for one that is not there."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

import pytest

from capd.catalog import Catalog, everything
from capd.errors import StorageError
from capd.names import SegmentName
from tests.support.command import WITHOUT_POWERS
from tests.support.extracting import at, make
from tests.support.laying import NOON, capd, lay
from tests.support.traffic import START

DAY = 86_400 * 10**9
ALL = ("--since", at(START), "--until", at(START + DAY))


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Two rings of four segments, in one dated folder each."""
    return make(tmp_path)


@contextmanager
def forbidden(path: Path) -> Iterator[Path]:
    path.chmod(0)
    try:
        yield path
    finally:
        path.chmod(0o750)


def ask(captures: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """In the name of somebody to whom modes apply."""
    output = ("-o", str(captures.with_name("out.pcapng"))) if words[0] == "extract" else ()
    return capd(captures.with_name("capd.toml"), *words, *output, prefix=WITHOUT_POWERS)


WORDS = [("extract", *ALL), ("list",), ("verify",)]


@pytest.mark.parametrize("words", WORDS, ids=[words[0] for words in WORDS])
@pytest.mark.parametrize("which", ["v0", "v0/*-*-*"], ids=["ring", "dated"])
def test_it_is_named(captures: Path, words: tuple[str, ...], which: str) -> None:
    """By whatever looks at all there is; nothing is called complete."""
    (path,) = captures.glob(which)
    assert ask(captures, *words).returncode == 0
    with forbidden(path):
        done = ask(captures, *words)
        assert f"cannot read {path}: Permission denied" in done.stderr
        assert done.returncode == 3
        of_another = ask(captures, *words, "--interface", "w0")
        assert of_another.returncode == 0, of_another.stderr


def test_a_folder_of_the_file_system(captures: Path) -> None:
    """No ring is called so, and only root may look into it."""
    (captures / "lost+found").mkdir()
    with forbidden(captures / "lost+found"):
        assert ask(captures, "list").returncode == 0


@pytest.mark.parametrize("free", range(4))
def test_no_descriptor_is_left(tmp_path: Path, free: int) -> None:
    """For the directory itself, for what listing takes, for a ring, for a dated folder."""
    for seq in (1, 2):
        lay(tmp_path, SegmentName("v0", NOON + seq * DAY, seq))
    catalog = Catalog(str(tmp_path))
    assert len(list(everything(catalog.scan()))) == 2
    assert catalog.troubles == {}
    with descriptors(free):
        catalog = Catalog(str(tmp_path))
        if free < 2:
            with pytest.raises(StorageError, match=f"cannot read {tmp_path}: Too many open files"):
                catalog.scan()
            return
        found = list(everything(catalog.scan()))
    assert found == []
    (told,) = catalog.troubles.values()
    assert told[0].endswith(": Too many open files")


@contextmanager
def descriptors(free: int) -> Iterator[None]:
    """This process may open no more than so many files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/dev/fd/{name}")}
    numbers = (number for number in count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(islice(numbers, free, None)), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
