"""Plans that change under a worker: each packet once, under a header that is true of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from capd.messages import Expect
from capd.ring import attach_filter
from capd.units import SECOND
from tests.support import judge
from tests.support.disk import mounted
from tests.support.epochs import Epoch, check_headers, check_packets, frames, said
from tests.support.frames import Shape, Stream
from tests.support.ledger import assert_all_clean
from tests.support.load import RATE, STREAM, assert_nothing_left, chance, more, steady, stopped
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import parts, segments
from tests.support.wait import wait_for
from tests.support.workers import Flows, Post, plan, posted
from tests.support.xdp import FrameSource

LOW, HIGH = Flows(0, 8), Flows(6, 14)  # flows 6 to 8 pass both, 15 passes neither


def exchange(post: Post, flows: Flows) -> Epoch:
    """Another filter in force, of which the worker hears later."""
    before = time.time_ns()
    attach_filter(post.sock, flows.program)
    return Epoch(flows, before, time.time_ns())


def swap(post: Post, flows: Flows) -> Epoch:
    """Another filter in force, and the worker told."""
    post.send(Expect())
    epoch = exchange(post, flows)
    post.adjust(filter=flows.text, filter_since=epoch.since)
    return epoch


@pytest.mark.alone
@pytest.mark.parametrize("kills", [0, 40])
def test_filters_change_under_load(net: Namespace, tmp_path: Path, kills: int) -> None:
    """A hundred times, with workers killed at any instant: none lost, none twice, none wrong."""
    index, rng = net.add_veth("v0", "v1"), chance()
    changes = 100
    first = plan(tmp_path, filter=LOW.text)
    with posted(net, first, LOW.program) as post:
        epochs = [Epoch(LOW, 0, 0)]
        post.start()
        with steady(net.name, index) as source:
            for number in range(changes):  # at any instant, as the kills are
                time.sleep(rng.uniform(0.0, 0.12))
                killed = number % 100 < kills
                if killed and rng.random() < 0.3:
                    post.kill()
                epochs.append(swap(post, (HIGH, LOW)[number % 2]))
                if killed:
                    time.sleep(rng.choice((0, rng.uniform(0, 0.05), rng.uniform(0, 0.3))))
                    post.restart()
            more(source)
        finished = post.finish()
    assert [event for event in post.events if event.name != "WENT_ON"] == []
    counters = finished.counters
    assert counters.received == counters.written
    assert (finished.until, counters.overlap) == (0, 0)
    found = segments(tmp_path, "v0")
    assert counters.files == len(found)
    assert_nothing_left(tmp_path)
    check_packets(found, STREAM, source.sent, epochs)
    own = check_headers(found, STREAM, epochs)
    print(f"{own} epochs with files of their own, {len(found)} files")
    assert own > changes / 4
    assert_all_clean(found[::10])


def test_a_worker_that_stands_still_while_the_filter_changes(
    net: Namespace, tmp_path: Path
) -> None:
    """It hears of it long after packets of the new filter have filled blocks."""
    index = net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path, filter=LOW.text), LOW.program) as post:
        epochs = [Epoch(LOW, 0, 0)]
        post.start()
        with steady(net.name, index) as source:
            post.wait_written(RATE // 10)
            for flows in (HIGH, LOW, HIGH):
                with stopped(post.pid):
                    more(source)
                    epochs.append(exchange(post, flows))
                    more(source)
                    post.adjust(filter=flows.text, filter_since=epochs[-1].since)
                more(source)
        assert post.finish().counters.lost == 0
    found = segments(tmp_path, "v0")
    check_packets(found, STREAM, source.sent, epochs)
    assert check_headers(found, STREAM, epochs) == 4


def test_a_daemon_that_is_late_to_tell_of_the_filter(net: Namespace, tmp_path: Path) -> None:
    """The worker expects it: no block of the new filter goes under the header before."""
    index = net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path, filter=LOW.text), LOW.program) as post:
        epochs = [Epoch(LOW, 0, 0)]
        post.start()
        with steady(net.name, index) as source:
            post.wait_written(RATE // 10)
            for flows in (HIGH, LOW, HIGH):
                post.send(Expect())
                epochs.append(exchange(post, flows))
                more(source)
                post.adjust(filter=flows.text, filter_since=epochs[-1].since)
                more(source)
        assert post.finish().counters.lost == 0
    found = segments(tmp_path, "v0")
    check_packets(found, STREAM, source.sent, epochs)
    assert check_headers(found, STREAM, epochs) == 4


def test_a_change_before_the_first_packet(net: Namespace, tmp_path: Path) -> None:
    """One file, the first, whose header tells of the last filter; also a shorter or longer one."""
    index = net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path, filter=LOW.text)) as post:
        post.start()
        wait_for(lambda: len(parts(tmp_path, "v0")) == 2, 20, "a segment and its spare")
        for text in ("x" * 20_000, "y", "z" * 5000, HIGH.text):
            post.adjust(filter=text, filter_since=time.time_ns())
        post.wait_heard()
        since = post.plan.source.filter_since
        with FrameSource(STREAM, index, net.name) as source:
            source.inject(1000)
        assert post.finish().counters.written == 1000
    (path,) = segments(tmp_path, "v0")
    assert said(path) == (HIGH.text, since)
    assert path.stem.endswith("_0000000001")
    judge.check_numbers([path], STREAM, 1000)
    judge.assert_clean(path)


def test_a_change_before_the_first_packet_and_no_packet(net: Namespace, tmp_path: Path) -> None:
    """What is closed in the end is whole, whoever was killed meanwhile."""
    net.add_veth("v0", "v1")
    rng = chance()
    with posted(net, plan(tmp_path, filter=LOW.text)) as post:
        post.start()
        wait_for(lambda: len(parts(tmp_path, "v0")) == 2, 20, "a segment and its spare")
        for _ in range(20):
            post.adjust(filter="x" * rng.randrange(1, 20_000), filter_since=time.time_ns())
            time.sleep(rng.uniform(0, 0.003))  # the kill is to fall anywhere
            post.restart()
        post.finish()
    (path,) = segments(tmp_path, "v0")
    assert said(path)[1] == post.plan.source.filter_since
    judge.assert_clean(path)
    assert parts(tmp_path, "v0") == []


def test_other_limits_force_no_segment(net: Namespace, tmp_path: Path) -> None:
    """They apply at once."""
    index = net.add_veth("v0", "v1")
    stream = Stream(Shape.fixed(1000))
    with posted(net, plan(tmp_path)) as post, FrameSource(stream, index, net.name) as source:
        post.start()
        source.inject(2000)
        post.wait_written(2000)
        post.adjust(rotate_size=64 * 2**20, sync_interval=SECOND // 10, snaplen=1000)
        post.adjust(snaplen=262144, record_direction=True)
        source.inject(2000)
        post.wait_written(4000)
        assert segments(tmp_path, "v0") == []
        post.adjust(rotate_size=2**20)
        wait_for(lambda: segments(tmp_path, "v0"), 20, "a segment that is too large to end")
        source.inject(2000)
        assert post.finish().counters.written == 6000
    found = segments(tmp_path, "v0")
    judge.check_numbers(found, stream, 6000)
    assert len(found) >= 3


def test_a_change_while_the_disk_refuses(net: Namespace, tmp_path: Path) -> None:
    """Packets wait in the ring, and the header is right when there is space."""
    need("mount", "umount", "mkfs.ext4")
    index = net.add_veth("v0", "v1")
    with mounted("ext4", tmp_path, 64 * 2**20) as disk:
        with (
            posted(net, plan(disk.path, filter=LOW.text), LOW.program) as post,
            FrameSource(STREAM, index, net.name) as source,
        ):
            epochs = [Epoch(LOW, 0, 0)]
            post.start()
            source.inject(RATE)
            wait_for(lambda: len(parts(disk.path, "v0")) == 2, 20, "a segment and its spare")
            disk.fill()
            source.inject_at(RATE, RATE // 2)
            for flows in (HIGH, LOW, HIGH):
                epochs.append(swap(post, flows))
                source.inject_at(RATE, RATE // 10)
            disk.clear()
            count = source.sent
            counters = post.finish().counters
        assert counters.received == counters.written
        found = segments(disk.path, "v0")
        numbers = [frame.number for path in found for frame in frames(path, STREAM)]
        assert len(numbers) == counters.written
        assert numbers == sorted(set(numbers))
        assert numbers[-1] < count
        assert said(found[-1]) == (HIGH.text, epochs[-1].since)
        assert_all_clean(found)


def test_another_folder_takes_another_worker(net: Namespace, tmp_path: Path) -> None:
    """An order that nobody should give is refused, and nothing is lost by it."""
    index = net.add_veth("v0", "v1")
    (tmp_path / "other").mkdir()
    with posted(net, plan(tmp_path)) as post, FrameSource(STREAM, index, net.name) as source:
        post.start()
        post.adjust(directory=str(tmp_path / "other"))
        wait_for(lambda: post.events, 20, "a complaint")
        source.inject(1000)
        assert post.finish().counters.written == 1000
    (event,) = post.events
    assert event.name == "BUG"
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 1000)
