"""A ring that follows another: cut at an instant, each packet is in one of them."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from capd.messages import Finish, Finished
from capd.units import SECOND
from tests.support import judge
from tests.support.epochs import frames
from tests.support.ledger import assert_all_clean
from tests.support.load import RATE, STREAM, assert_nothing_left, chance, more, steady
from tests.support.net import Namespace
from tests.support.recorder import parts, segments
from tests.support.wait import wait_for
from tests.support.workers import SHAPE, Post, plan, posted
from tests.support.xdp import FrameSource

pytestmark = pytest.mark.alone

AHEAD = 50_000_000  # ns between an order to end and the instant


def end(post: Post, moment: int, rng: random.Random | None) -> Finished:
    """Told to end at this instant, and killed meanwhile if there is chance."""
    post.send(Finish(moment))
    if rng is not None:
        for _ in range(rng.randrange(4)):
            time.sleep(rng.uniform(0, 0.15))  # the kill is to fall anywhere
            post.kill()
            if post.finished is not None:
                break
            post.start()
            post.send(Finish(moment))
    finished = post.wait_finished()
    counters = finished.counters
    assert counters.received == counters.written + counters.overlap
    return finished


@pytest.mark.parametrize("kills", [False, True])
def test_rings_follow_each_other(net: Namespace, tmp_path: Path, kills: bool) -> None:
    """Cut at an instant under load, the workers killed at any: each packet exactly once."""
    index, rng = net.add_veth("v0", "v1"), chance()
    rings = 20
    shapes = [SHAPE._replace(blocks=blocks) for blocks in (128, 160)]
    overlap = 0
    with ExitStack() as before:
        post = before.enter_context(posted(net, plan(tmp_path, shapes[0])))
        post.start()
        with steady(net.name, index) as source:
            for number in range(1, rings):
                more(source, int(rng.uniform(0.05, 0.3) * RATE))
                if kills:
                    post.restart()
                with ExitStack() as after:
                    made = plan(tmp_path, shapes[number % 2])
                    following = after.enter_context(posted(net, made))
                    moment = time.time_ns() + AHEAD
                    finished = end(post, moment, rng if kills else None)
                    assert finished.until >= moment
                    overlap += finished.counters.overlap
                    following.since = finished.until
                    following.start()
                    before.callback(after.pop_all().close)
                post = following
            more(source)
        overlap += end(post, 0, None).counters.overlap
    found = segments(tmp_path, "v0")
    judge.check_numbers(found, STREAM, source.sent)
    assert_nothing_left(tmp_path)
    assert overlap > rings
    assert_all_clean(found)


def test_a_worker_that_hears_too_late_of_the_end(net: Namespace, tmp_path: Path) -> None:
    """It has written packets stamped later: then the rings are cut behind them."""
    index = net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path)) as post, posted(net, plan(tmp_path)) as following:
        with steady(net.name, index) as source:
            post.start()
            post.wait_written(RATE // 2)
            moment, sent = time.time_ns(), source.sent
            post.wait_written(sent + 1)
            finished = end(post, moment, None)
            assert moment < finished.until < time.time_ns()
            following.since = finished.until
            following.start()
        end(following, 0, None)
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, source.sent)


def test_a_ring_without_packets_leaves_no_file(net: Namespace, tmp_path: Path) -> None:
    """When another goes on: there is nothing to tell that the next file does not."""
    index = net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path)) as post:
        post.start()
        wait_for(lambda: len(parts(tmp_path, "v0")) == 2, 20, "a segment and its spare")
        with FrameSource(STREAM, index, net.name) as source:
            post.send(Finish(time.time_ns()))
            source.inject(100)
        assert post.wait_finished().counters.files == 0
    assert parts(tmp_path, "v0") == segments(tmp_path, "v0") == []


@pytest.mark.fault(15)
def test_a_clock_that_was_set_back(net: Namespace, tmp_path: Path) -> None:
    """The ring before ended at an instant that is far ahead: nothing waits for it."""
    index = net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path), since=time.time_ns() + 3600 * SECOND) as post:
        post.start()
        wait_for(lambda: len(parts(tmp_path, "v0")) == 2, 20, "a segment and its spare")
        with FrameSource(STREAM, index, net.name) as source:
            source.inject_at(RATE, RATE)
        counters = post.finish().counters
    assert counters.overlap + counters.written == RATE
    numbers = [frame.number for path in segments(tmp_path, "v0") for frame in frames(path, STREAM)]
    assert numbers == [*range(RATE - counters.written, RATE)]
    assert counters.overlap < RATE / 10
