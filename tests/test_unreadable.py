"""A folder that cannot be read is not taken for one that is not there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capd.names import SegmentName
from tests.support.command import WITHOUT_POWERS
from tests.support.extracting import EACH, at, make
from tests.support.laying import NOON, capd, lay
from tests.support.need import need, need_root
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


@pytest.mark.parametrize("number", [1, 2, 4], ids=["indexed", "bare", "open"])
def test_a_segment_on_a_bad_block(captures: Path, number: int) -> None:
    """It is named; all others are given."""
    need("strace")
    listed = captures.glob(f"v0/**/*{number:010d}.*")
    (path,) = (one for one in listed if one.suffix != ".idx")
    fails = "inject=pread64,preadv,preadv2:error=EIO"
    log = str(captures.with_name("log"))
    prefix = ("strace", "-f", "-qq", "-o", log, "-P", str(path), "-e", fails)
    made = str(captures.with_name("out.pcapng"))
    done = capd(
        captures.with_name("capd.toml"), "extract", *ALL, "-o", made, "--json", prefix=prefix
    )
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stderr)
    assert told["by_interface"] == {"v0": 3 * EACH, "w0": 4 * EACH}
    assert {text.partition(",")[0] for text in told["troubles"]} == {str(path)}
    assert all(text.endswith(": Input/output error") for text in told["troubles"])


@pytest.mark.parametrize("table", ["storage", "archive"])
def test_a_disk_that_is_not_mounted(captures: Path, table: str) -> None:
    """What is on it nobody has seen: nothing is called whole, or without loss."""
    need_root()
    with tempfile.TemporaryDirectory(prefix="capd-test-", dir="/") as place:
        other = f'[storage]\ndirectory = "{captures}"\n' if table == "archive" else ""
        captures.with_name("capd.toml").write_text(
            f'{other}[{table}]\ndirectory = "{place}"\nrequire_mount = true\n'
            '[[interface]]\nname = "v0"\n'
        )
        losses = ("losses", *ALL)
        told = f"incomplete: {place} is on the root file system, and require_mount is set: "
        for words in (*WORDS, losses):
            done = ask(captures, *words)
            concerned = table == "storage" or words != losses
            assert (told in done.stderr) == concerned
            assert done.returncode == (3 if concerned else 0)


def test_a_folder_of_the_file_system(captures: Path) -> None:
    """No ring is called so, and only root may look into it."""
    (captures / "lost+found").mkdir()
    with forbidden(captures / "lost+found"):
        assert ask(captures, "list").returncode == 0


# In a process of its own: here, others take and give back descriptors meanwhile.
LISTING = """
import resource, sys
from capd.catalog import Catalog, everything
from capd.errors import StorageError
catalog = Catalog(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (3 + int(sys.argv[2]),) * 2)
try:
    print(len(list(everything(catalog.scan()))), catalog.troubles)
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("free", "found", "troubles"),
    [(2, 0, {"v0": ["v0"]}), (3, 0, {"v0": ["v0/2025-11-25", "v0/2025-11-26"]}), (9, 2, {})],
)
def test_no_descriptor_is_left(
    tmp_path: Path, free: int, found: int, troubles: dict[str, list[str]]
) -> None:
    """For a ring, for a dated folder."""
    why = "Too many open files"
    told = {
        ring: [f"cannot read {tmp_path}/{folder}: {why}" for folder in folders]
        for ring, folders in troubles.items()
    }
    assert listed(tmp_path, free) == f"{found} {told}\n"


@pytest.mark.parametrize("free", [0, 1])
def test_no_descriptor_is_left_at_all(tmp_path: Path, free: int) -> None:
    """For the directory itself, or for what listing it takes."""
    assert listed(tmp_path, free) == f"cannot read {tmp_path}: Too many open files\n"


def listed(folder: Path, free: int) -> str:
    """What comes of a listing of two segments with so many descriptors."""
    for seq in (1, 2):
        lay(folder, SegmentName("v0", NOON + seq * DAY, seq))
    command = [sys.executable, "-c", LISTING, str(folder), str(free)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
