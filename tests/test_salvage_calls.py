"""A salvage that is killed at any of its system calls, or refused it: the next one does it."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from capd.archive.salvage import COVER
from tests.support.disk import Faults
from tests.support.need import need, need_root
from tests.support.remnants import (
    COUNT,
    HEAD,
    STAMP,
    WHOLE,
    Place,
    blocks,
    closing,
    frames,
    packet,
    packet_of,
    page_padding,
)

NOTHING = "delay_enter=0"
CALLS = {
    *("newfstatat", "fstat", "openat", "pread64", "fadvise64", "lseek", "pwrite64", "ftruncate"),
    *("fdatasync", "mkdirat", "renameat", "unlinkat", "fsync", "close"),
}
# Those that the interpreter begins again by itself.
INTERRUPTED = ("openat", "pread64", "pwrite64", "ftruncate", "fdatasync", "fsync")
CHANGING = ("pwrite64", "ftruncate", "fdatasync", "mkdirat", "renameat", "unlinkat", "fsync")


def damaged() -> bytes:
    """In the middle, more than one block of padding can cover."""
    gap = packet_of(bytes(1000), STAMP) * (COVER // 1000)
    content = bytearray(WHOLE + gap + b"".join(packet(n) for n in range(COUNT, 2 * COUNT)))
    content[len(WHOLE) - 50 : len(WHOLE) + len(gap)] = bytes(len(gap) + 50)
    content[list(blocks(WHOLE))[5].start + 8] = 1
    return bytes(content)


CASES = {
    "short tail": WHOLE + b"\1\2\3",
    "long tail": WHOLE + random.Random(1).randbytes(5000),
    "zero tail": WHOLE + closing(COUNT, lost=3) + bytes(5000),
    "damaged": damaged() + closing(2 * COUNT),
    "damaged, with a tail": damaged() + random.Random(1).randbytes(5000),
    "complete": WHOLE + closing(COUNT) + page_padding(len(WHOLE + closing(COUNT))),
    "empty": HEAD + page_padding(len(HEAD)),
    "precious": b"precious" * 1000,
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The folder of a ring."""
    need("strace")
    need_root()
    return Place(tmp_path)


def run(place: Place, content: bytes, calls: str, how: str, log: Path) -> str:
    """What becomes of a new file with this content while calls fail; "" if the process died."""
    remove(place)
    place.part.write_bytes(content)
    argv = [sys.executable, "-m", "tests.support.salvage_child", str(place.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with Faults(child.pid, calls, how, log):
            said, _ = child.communicate("\n", timeout=60)
    assert bool(said) == (child.returncode == 0)
    return said.strip()


def remove(place: Place) -> None:
    """Nothing is there, not even a folder."""
    place.clear()
    for folder in place.path.iterdir():
        folder.rmdir()


def made(log: Path) -> Counter[str]:
    """The calls that were made, by name."""
    names = re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE)
    return Counter(name for name in names if name in CALLS)


@pytest.mark.fault(20)
@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_call(place: Place, tmp_path: Path, case: str) -> None:
    """Before the n-th of each name, for every n: then the same file comes out."""
    content, log = CASES[case], tmp_path / "log"
    assert run(place, content, "all", NOTHING, log)
    wanted, counts = place.files(), made(log)
    deaths = 0
    for name, count in counts.items():
        for number in range(1, count + 1):
            if not run(place, content, name, f"signal=KILL:when={number}", log):
                deaths += 1
            place.salvage()
            assert place.files() == wanted, (name, number)
    print(f"{deaths} deaths among {counts}")
    assert deaths == counts.total()


@pytest.mark.fault(33)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS", "EDQUOT"])
@pytest.mark.parametrize("case", ["long tail", "damaged", "empty", "precious"])
def test_refused_every_call(place: Place, tmp_path: Path, case: str, error: str) -> None:
    """No packet is lost, and a second try without the error leaves no `.part` file."""
    content, log = CASES[case], tmp_path / "log"
    run(place, content, "all", NOTHING, log)
    (wanted,) = place.files().values() if place.files() else (b"",)
    counts = made(log)
    for name in CHANGING:
        for number in range(1, counts[name] + 1):
            what = run(place, content, name, f"error={error}:when={number}", log)
            assert "(INJECTED)" in log.read_text(), (name, number)
            suspect = any(path.endswith(".suspect") for path in place.files())
            assert suspect == (name == "fdatasync")
            second = place.salvage().what
            assert what == "failed" or second == "gone"
            for path, result in place.files().items():
                assert not path.endswith(".part")
                same = result == content if case == "precious" else frames(result) == frames(wanted)
                assert same, (name, number)
            assert bool(place.files()) == bool(wanted)


def test_a_full_disk_is_no_reason_to_wait(place: Place, tmp_path: Path) -> None:
    """Whether it takes nothing of the last block or a part: the segment gets its name without."""
    for how in ("error=ENOSPC", "retval=50"):
        assert run(place, CASES["short tail"], "pwrite64", f"{how}:when=1", tmp_path / "log")
        assert place.result() == WHOLE


@pytest.mark.fault(33)
@pytest.mark.parametrize("case", ["long tail", "damaged"])
def test_interrupted(place: Place, tmp_path: Path, case: str) -> None:
    """A call that a signal broke off is made again."""
    content, log = CASES[case], tmp_path / "log"
    run(place, content, "all", NOTHING, log)
    wanted, counts = place.files(), made(log)
    for name in INTERRUPTED:
        for number in range(1, counts[name] + 1):
            run(place, content, name, f"error=EINTR:when={number}", log)
            assert place.files() == wanted, (name, number)
