"""The n-th system call on a file fails, for every n: no file is corrupt, no count is off.

Several workers run at once, each with a failure of its own, until one round needs fewer
calls than the failure is waiting for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import judge
from tests.support.disk import Faults
from tests.support.frames import Shape, Stream
from tests.support.ledger import (
    all_files,
    assert_all_clean,
    check_ledger,
    complaints,
    suspects,
)
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

STREAM = Stream(Shape.fixed(2900))
FRAMES, RATE = 6_000, 6_000
RING = 'ring_size = "64MiB"\nrotate_size = "8MiB"'  # blocks of 4 MiB: few writes, many files


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("strace")


class Fault(NamedTuple):
    """What strace does to a worker: `inject=calls:how`."""

    calls: str
    how: str


def record(net: Namespace, below: Path, faults: list[Fault]) -> list[list[str]]:
    """One ring for each fault; what strace let fail in each.  All files and counts are right."""
    names = [f"v{number}" for number in range(len(faults))]
    indices = {name: net.add_veth(name, f"p{name}") for name in names}
    config = write_config(
        below / "capd.toml", below, *names, storage='sync_interval = "1s"', capture=RING
    )
    with ExitStack() as stack:
        capd = stack.enter_context(Recorder(net, config))
        capd.wait_capturing(*names)
        for name in names:
            wait_for(partial(has_spare, below, name), 20, "a file and a spare")
        running = [
            stack.enter_context(
                Faults(worker_of(capd, below / name), *fault, below / f"{name}.log")
            )
            for name, fault in zip(names, faults, strict=True)
        ]
        threads = [threading.Thread(target=inject, args=(net, indices[name])) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert capd.stop() == 0, capd.lines
    for name, fault in zip(names, faults, strict=True):
        check_ring(capd, below, name, str(fault))
        net.delete_link(name)
    return [each.injected for each in running]


def has_spare(below: Path, name: str) -> bool:
    """Whether the first segment is being written, and the next file there."""
    return len(parts(below, name)) == 2


def inject(net: Namespace, index: int) -> None:
    """One ring's frames."""
    with FrameSource(STREAM, index, net.name) as source:
        source.inject_at(RATE, FRAMES)


def check_ring(capd: Recorder, below: Path, name: str, what: str) -> None:
    """Nothing is lost, and every file that is finished is whole."""
    summary = check_ledger(capd, below, name, STREAM, FRAMES)
    assert summary.lost == 0, what
    assert len(segments(below, name)) + len(suspects(below, name)) >= 2, what
    assert [path for path in parts(below, name) if list(judge.packets(path))] == [], what


def worker_of(capd: Recorder, folder: Path) -> int:
    """The worker that has a file in this folder open."""
    (worker,) = (
        pid
        for pid in capd.workers()
        if any(str(link.resolve().parent) == str(folder) for link in files_of(pid))
    )
    return worker


def files_of(pid: int) -> Iterator[Path]:
    """The links to what a process has open."""
    return Path(f"/proc/{pid}/fd").iterdir()


class Kind(NamedTuple):
    """System calls that fail, with which errors in turn, and in how many workers at once."""

    calls: str
    errors: tuple[str, ...]
    at_once: int

    def fault(self, n: int, turn: int) -> Fault:
        """The n-th call fails, in each turn with another error."""
        return Fault(self.calls, f"error={self.errors[(n + turn) % len(self.errors)]}:when={n}")


WRITE = Kind("pwrite64", ("EIO", "ENOSPC", "EDQUOT", "EINTR", "EFBIG", "EROFS"), 8)
OPEN = Kind("openat", ("EIO", "EMFILE", "ENOSPC", "EDQUOT", "EROFS"), 12)
SYNC = Kind("fdatasync", ("EIO", "ENOSPC", "EDQUOT", "EROFS"), 5)
SYNC_FOLDER = Kind("fsync", ("EIO", "ENOSPC", "EROFS"), 9)
CUT = Kind("ftruncate", ("EIO", "EINTR", "EROFS", "ENOSPC"), 4)
REMOVE = Kind("unlink,unlinkat", ("EIO", "EROFS", "EINTR"), 2)
RENAME = Kind("rename,renameat,renameat2", ("EIO", "ENOSPC", "EDQUOT", "EROFS"), 4)
MAKE_FOLDER = Kind("mkdir,mkdirat", ("ENOSPC", "EROFS", "EIO"), 2)


TOGETHER = {
    "write": (WRITE,),
    "open": (OPEN,),
    "sync of a folder": (SYNC_FOLDER,),
    "sync and cut": (SYNC, CUT),
    "names": (RENAME, MAKE_FOLDER, REMOVE),
}
TURNS = [
    pytest.param(kinds, turn, id=f"{name} {turn}")
    for name, kinds in TOGETHER.items()
    for turn in range(max(len(kind.errors) for kind in kinds))
]


@pytest.mark.fault(33)
@pytest.mark.parametrize(("kinds", "turn"), TURNS)
def test_the_nth_call_fails(
    net: Namespace, tmp_path: Path, kinds: tuple[Kind, ...], turn: int
) -> None:
    """For every n, with every error."""
    going = dict.fromkeys(kinds, 0)
    while going:
        faults = {
            kind.fault(n, turn): kind
            for kind, done in going.items()
            for n in range(done + 1, done + kind.at_once + 1)
        }
        below = tmp_path / str(max(going.values()))
        below.mkdir(mode=0o750)
        injected = record(net, below, list(faults))
        for at, (kind, failed) in enumerate(zip(faults.values(), injected, strict=True)):
            if kind is SYNC:
                assert len(suspects(below, f"v{at}")) == len(failed)
        exhausted = {
            kind for kind, failed in zip(faults.values(), injected, strict=True) if not failed
        }
        failing = {kind for kind, failed in zip(faults.values(), injected, strict=True) if failed}
        # none is left to fail where a later round begins just behind a kind's last call
        assert failing >= {kind for kind, done in going.items() if not done}
        going = {kind: done + kind.at_once for kind, done in going.items() if kind not in exhausted}
        assert_all_clean(all_files(below, "v0"))


@pytest.mark.fault(34)
def test_o_direct_refused_at_a_write(net: Namespace, tmp_path: Path) -> None:
    """The first write into a file says EINVAL: through the page cache, then, and said once."""
    index = net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=RING)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        wait_for(partial(has_spare, tmp_path, "v0"), 20, "a file and a spare")
        how = "error=EINVAL:when=1"
        with Faults(capd.worker(), "pwrite64", how, tmp_path / "log") as faults:
            inject(net, index)
            assert capd.stop() == 0
        assert faults.injected
    check_ring(capd, tmp_path, "v0", how)
    (told,) = complaints(capd)
    assert "does not take O_DIRECT" in told
    assert_all_clean(segments(tmp_path, "v0"))


@pytest.mark.fault(33)
def test_a_disk_that_confirms_nothing(net: Namespace, tmp_path: Path) -> None:
    """Every fdatasync fails: the segments carry a name that says so, and capture goes on."""
    (failed,) = record(net, tmp_path, [Fault("fdatasync", "error=EIO")])
    assert len(failed) >= 3
    assert segments(tmp_path, "v0") == []
    assert_all_clean(suspects(tmp_path, "v0"))
