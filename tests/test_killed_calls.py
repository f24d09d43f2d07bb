"""A worker killed at every system call of a rotation, in both its threads."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from capd.messages import Report
from tests.support import judge
from tests.support.disk import Faults
from tests.support.frames import Shape, Stream
from tests.support.ledger import assert_all_clean
from tests.support.load import RATE, assert_nothing_left
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import parts, segments
from tests.support.wait import wait_for
from tests.support.workers import Post, plan, posted
from tests.support.xdp import FrameSource

STREAM = Stream(Shape.fixed(1400))
ROTATE = 2**20
ENOUGH = ROTATE // 1400 + 100  # frames: at least one rotation
NOTHING = "delay_enter=0"


@pytest.mark.fault(20)
@pytest.mark.parametrize("thread", ["loop", "keeper"])
def test_killed_at_every_call_of_a_rotation(net: Namespace, tmp_path: Path, thread: str) -> None:
    """Before the n-th call of each name, for every n: each packet once, and every file opens."""
    need("strace")
    index = net.add_veth("v0", "v1")
    with (
        posted(net, plan(tmp_path, rotate_size=ROTATE)) as post,
        FrameSource(STREAM, index, net.name) as source,
    ):

        def rotate(calls: str, how: str) -> Counter[str]:
            with Faults(post.pid, calls, how, tmp_path / "log", only=tracee(post, thread)):
                source.inject_at(RATE, ENOUGH)
                over = partial(is_over, post, tmp_path, source.sent)
                wait_for(over, 20, "a death, or everything written")
            log = (tmp_path / "log").read_text()
            return Counter(re.findall(r"^(\w+)\(", log, re.MULTILINE))

        start(post, tmp_path)
        counts = rotate("all", NOTHING)
        del counts["restart_syscall"]  # where strace found it waiting
        deaths: Counter[str] = Counter()
        closed: dict[Path, bytes] = {}  # as they were when a death was over
        for name, count in counts.items():
            for number in range(1, count + 1):
                if rotate(name, f"signal=KILL:when={number}")[name] == number:
                    deaths[name] += 1
                    post.kill()  # it is dead, or about to be
                    for path in segments(tmp_path, "v0"):
                        closed.setdefault(path, digest(path))
                    start(post, tmp_path)
        post.finish()
    print(f"{deaths.total()} deaths of the {thread} among {counts}")
    del counts["futex"], deaths["futex"]  # of which no two rotations need as many
    assert deaths.total() >= counts.total() * 3 // 4
    assert len(closed) > deaths.total() // 2
    assert [path for path, before in closed.items() if digest(path) != before] == []
    found = segments(tmp_path, "v0")
    judge.check_numbers(found, STREAM, source.sent)
    assert_all_clean(found)
    assert_nothing_left(tmp_path)


def digest(path: Path) -> bytes:
    """What is in a file, in short."""
    return hashlib.blake2b(path.read_bytes()).digest()


def start(post: Post, directory: Path) -> None:
    """A worker that has its file, and the next one."""
    heard = len(post.heard)
    post.start()
    wait_for(lambda: any(isinstance(one, Report) for one in post.heard[heard:]), 20, "a report")
    wait_for(lambda: len(parts(directory, "v0")) == 2, 20, "a file and a spare")


def tracee(post: Post, thread: str) -> int:
    """The thread of the worker that is meant."""
    threads = {int(name) for name in os.listdir(f"/proc/{post.pid}/task")}
    (keeper,) = threads - {post.pid}
    return {"loop": post.pid, "keeper": keeper}[thread]


def is_over(post: Post, directory: Path, sent: int) -> bool:
    """Whether the worker is dead, or has written everything and has the next file at hand."""
    if not post.alive:
        return True
    reports = (one for one in reversed(post.heard) if isinstance(one, Report))
    written = next(reports).counters.written
    return written == sent and len(parts(directory, "v0")) == 2
