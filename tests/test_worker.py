"""What a worker makes of the plan that it is told, and of who tells it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd import __version__
from capd.events import Kind
from tests.support import judge
from tests.support.load import STREAM
from tests.support.net import Namespace
from tests.support.recorder import segments
from tests.support.wait import wait_for
from tests.support.workers import plan, posted
from tests.support.xdp import FrameSource

COUNT = 1000  # frames


@pytest.fixture
def on_root() -> Iterator[Path]:
    """A directory on the root file system."""
    directory = Path(tempfile.mkdtemp(prefix="capd-test-", dir="/"))
    yield directory
    shutil.rmtree(directory)


def test_a_disk_that_is_not_required_any_more(net: Namespace, on_root: Path) -> None:
    """A worker that had no folder for want of its mount makes one as soon as it may."""
    index = net.add_veth("v0", "v1")
    with (
        posted(net, plan(on_root, require_mount=True)) as post,
        FrameSource(STREAM, index, net.name) as source,
    ):
        post.start()
        (refused,) = wait_for(lambda: post.events, 10, "a complaint")
        assert "require_mount is set" in refused.text
        source.inject(COUNT)
        assert list(on_root.iterdir()) == []
        post.adjust(require_mount=False)
        post.wait_written(COUNT)
        post.finish()
    judge.check_numbers(segments(on_root, "v0"), STREAM, COUNT)


@pytest.mark.parametrize("version", ["", __version__, "99.1"])
def test_a_daemon_of_another_version(net: Namespace, tmp_path: Path, version: str) -> None:
    """It is asked for a restart; the capture goes on."""
    net.add_veth("v0", "v1")
    with posted(net, plan(tmp_path)) as post:
        post.version = version
        post.start()
        post.finish()
    told = [f"the daemon is of capd 99.1 and its worker of {__version__}; "] * (version == "99.1")
    assert [event.text.partition("for one")[0] for event in post.events] == told
    assert all(Kind.of(event.name) is Kind.VERSIONS for event in post.events)
