"""The state page: what a kill at any instant leaves is one whole state and every count."""

from __future__ import annotations

import itertools
import mmap
import os
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from capd.capture.state import PAGE_SIZE, SegmentState, State, StatePage
from capd.errors import RingError
from capd.messages import Counters
from capd.ring import Geometry, cookie
from tests.support.rings import NEVER_MS, Rig, rig
from tests.support.state_child import check, marked

ROOT = Path(__file__).resolve().parent.parent
TINY = Geometry(block_size=4096, blocks=2, retire_ms=NEVER_MS)  # full after six frames


@contextmanager
def memory(content: bytes = b"") -> Iterator[int]:
    """A state page's descriptor."""
    fd = os.memfd_create("state")
    try:
        os.ftruncate(fd, PAGE_SIZE)
        os.pwrite(fd, content, 0)
        yield fd
    finally:
        os.close(fd)


def opened(page_fd: int, ring: Rig) -> StatePage:
    """The page, as a worker of this ring opens it."""
    return StatePage(page_fd, ring.fd, cookie(ring.socket))


def kernel(state: State) -> tuple[int, int]:
    """What a state says the kernel counted."""
    return state.counters.received, state.counters.dropped


def test_fresh_page() -> None:
    """Nothing happened yet, and loading it again does not change that."""
    with rig() as ring, memory() as fd:
        assert opened(fd, ring).load() == State()
        assert opened(fd, ring).load() == State()


def test_there_and_back() -> None:
    """All fields, over more commits than there are slots."""
    with rig() as ring, memory() as fd:
        numbers = itertools.count(2**64 - 1000)
        page = opened(fd, ring)
        for _ in range(7):
            size = len(SegmentState())
            segment, closing = (SegmentState(*itertools.islice(numbers, size)) for _ in range(2))
            counters = Counters(*itertools.islice(numbers, len(Counters())))
            rest = itertools.islice(numbers, len(State()) - 4)
            state = State(next(numbers), segment, closing, counters, *rest)
            assert page.commit(state) == state
            assert page.load() == state
            assert opened(fd, ring).load() == state


def test_kernel_counts_arrive_once() -> None:
    """In the totals and in the segment, with the commit that asked for them."""
    with rig(TINY) as ring, memory() as fd:
        page = opened(fd, ring)
        state = page.load()
        sent = 0
        for step in (0, 4, 0, 30, 1):
            ring.source.inject(step)
            sent += step
            state = page.commit(state)
            assert state.counters.received == sent
            assert page.load() == state
        assert state.segment.dropped == state.counters.dropped > 20
        assert state.counters.freezes == 1


def test_one_holder() -> None:
    """Another process cannot take the page while this one has it."""
    with rig() as ring, memory() as fd:
        page = opened(fd, ring)
        code = (
            "import sys; from capd.capture.state import StatePage\n"
            "StatePage(*map(int, sys.argv[1:]))"
        )
        argv = [sys.executable, "-c", code, str(fd), str(ring.fd), str(cookie(ring.socket))]
        options: dict[str, Any] = {
            "stderr": subprocess.PIPE,
            "text": True,
            "pass_fds": [fd, ring.fd],
        }
        done = subprocess.run(argv, cwd=ROOT, check=False, **options)
        assert "RingError: cannot take over the ring: another worker has it" in done.stderr
        assert page.commit(State(block=5)).block == 5
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        os.close(again)  # gives this process's record locks on the page up
        done = subprocess.run(argv, cwd=ROOT, check=False, **options)
        assert (done.returncode, done.stderr) == (0, "")


def test_page_of_another_ring() -> None:
    """Is refused, and left as it was."""
    with rig() as ring, memory() as fd:
        opened(fd, ring).commit(State(block=5))
        before = os.pread(fd, PAGE_SIZE, 0)
        with pytest.raises(RingError, match="the state page belongs to another one"):
            StatePage(fd, ring.fd, cookie(ring.socket) + 1)
        assert os.pread(fd, PAGE_SIZE, 0) == before


@pytest.mark.parametrize("magic", [b"capdring", b"capdrng1", b"capdrng2", b"\0apdrng2"])
def test_page_of_another_layout(magic: bytes) -> None:
    """Is refused, and left as it was: nobody can say what its numbers mean."""
    with rig() as ring, memory() as fd:
        opened(fd, ring).commit(State(block=5))
        os.pwrite(fd, magic, 0)
        before = os.pread(fd, PAGE_SIZE, 0)
        with pytest.raises(RingError, match="its state page is another version's"):
            opened(fd, ring)
        assert os.pread(fd, PAGE_SIZE, 0) == before


class Image(NamedTuple):
    """The page as a kill leaves it, and what the kernel had given away by then."""

    content: bytes
    given: tuple[int, int]


def images(fd: int, given: tuple[int, int], commit: Callable[[], State]) -> list[Image]:
    """The page before and after every call of a C function that `commit` makes.

    The interpreter's profiling hook sees them; nothing is replaced.
    """
    found: list[Image] = []
    before = given

    def look(_frame: object, event: str, function: object) -> None:
        nonlocal given
        if not event.startswith("c_"):
            return
        if event == "c_return" and getattr(function, "__name__", "") == "statistics":
            given = (before[0] + STEP, before[1] + STEP)
        found.append(Image(os.pread(fd, PAGE_SIZE, 0), given))

    sys.setprofile(look)
    try:
        commit()
    finally:
        sys.setprofile(None)
    unlike = [one for one, after in itertools.pairwise(found) if one != after] + found[-1:]
    assert len(found) >= 12  # six steps
    assert unlike[-1].given != before
    return unlike


def torn(steps: list[Image], rng: random.Random) -> Iterator[Image]:
    """Mixtures of one image and the next, where they differ by more than one store."""
    for before, after in itertools.pairwise(steps):
        pairs = zip(before.content, after.content, strict=True)
        changed = [i for i, (old, new) in enumerate(pairs) if old != new]
        at_once = before.given != after.given or len({i // 8 for i in changed}) == 1
        if not at_once:  # neither the kernel's doing nor one store of 64 bits
            mixed = bytearray(before.content)
            for i in rng.sample(changed, len(changed) // 2):
                mixed[i] = after.content[i]
            yield Image(bytes(mixed), before.given)


STEP = 3  # frames between two commits; the ring is full, so that they are dropped


def flooded(ring: Rig) -> State:
    """Fills the ring; what the kernel counted meanwhile is thrown away."""
    ring.source.inject(50)
    with memory() as fd:
        opened(fd, ring).commit(State())
    return State()


def explore(ring: Rig, image: Image, depth: int, rng: random.Random) -> int:
    """Loads from this image and commits; the same for all that kills in there leave."""
    with memory(image.content) as fd:
        page = opened(fd, ring)
        state = page.load()
        assert kernel(state) == image.given
        check(state, state.block)
        if not depth:
            return 1
        ring.source.inject(STEP)
        number = state.block + 1
        left = images(fd, image.given, lambda: page.commit(marked(state, number)))
    left = [*left, *torn(left, rng)]
    for one in left:
        with memory(one.content) as fd:
            assert opened(fd, ring).load().block in (number - 1, number)
    if depth < 3:  # all that is left after one kill, a few of each after three
        left = rng.sample(left, min(5, len(left)))
    return sum(explore(ring, one, depth - 1, rng) for one in left)


def test_killed_anywhere_several_times_in_a_row() -> None:
    """Between any two steps of a commit, and again in the commits of those that took over."""
    rng = random.Random(1)
    with rig(TINY) as ring, memory() as fd:
        page = opened(fd, ring)
        state = flooded(ring)
        for number in range(1, 5):
            state = page.commit(marked(state, number))
            start = Image(os.pread(fd, PAGE_SIZE, 0), kernel(state))
            assert explore(ring, start, 3, rng) > 100
            state = page.load()


def test_killed_by_chance_under_traffic() -> None:
    """Real kills of real processes: in the end the counts are what was sent."""
    with rig(TINY) as ring, memory() as fd:
        stop = threading.Event()

        def flood() -> None:
            while not stop.is_set():
                ring.source.inject(20)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            argv = [sys.executable, "-m", "tests.support.state_child"]
            argv += [*map(str, (ring.fd, fd)), "400", "1"]
            done = subprocess.run(
                argv,
                cwd=ROOT,
                pass_fds=[ring.fd, fd],
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        finally:
            stop.set()
            thread.join()
        assert done.returncode == 0, done.stderr
        page = opened(fd, ring)
        state = page.commit(page.load())
        check(state, state.block)
        assert state.block > 1000
        assert state.counters.received == ring.source.sent > 1000


def test_the_page_is_one_page() -> None:
    """Its slots and the kernel's counters behind them do not overlap, and lie in it."""
    with rig() as ring, memory() as fd:
        page = opened(fd, ring)
        for number in range(1, 4):
            page.commit(marked(State(), number))
        used = os.pread(fd, PAGE_SIZE, 0).rstrip(b"\0")
        assert struct.calcsize("=Q") * 30 < len(used) < mmap.PAGESIZE
