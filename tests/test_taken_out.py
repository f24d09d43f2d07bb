"""An interface that a reload takes out of the config, and one that puts it back: a gap."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from capd.losses import NOT_CAPTURED
from capd.units import format_time
from tests.support import judge
from tests.support.command import running
from tests.support.extracting import at
from tests.support.frames import Shape, Stream
from tests.support.load import steady
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.wait import wait_for

SMALL = 'ring_size = "4MiB"\nflush_interval = "200ms"'  # loses nothing for three seconds
STREAM = Stream(Shape.fixed(200))


def gaps(capd: Recorder, config: Path) -> list[tuple[int, int, str]]:
    """Those of v0, by `capd losses`."""
    done = capd.order("losses", "--config", str(config), "--json", "--interface", "v0")
    assert done.returncode == 0, done.stderr
    losses = json.loads(done.stdout)["losses"]
    return [(loss["since"], loss["until"], loss["cause"]) for loss in losses]


@pytest.mark.parametrize("moved", [False, True], ids=["taken out", "moved"])
def test_what_comes_back_comes_after_a_gap(net: Namespace, tmp_path: Path, *, moved: bool) -> None:
    """In the same life of the daemon; also where it was captured elsewhere meanwhile."""
    index = net.add_veth("v0", "p0")
    net.add_veth("w0", "q0")
    folders = tmp_path / "captures", tmp_path / "others"
    for folder in folders:
        folder.mkdir()
    path = tmp_path / "capd.toml"
    config = write_config(path, folders[0], "v0", "w0", capture=SMALL)
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0", "w0")
        with steady(net.name, index, STREAM, 1000) as source:
            wait_for(lambda: source.sent > 100, 20, "frames")
        began = time.time_ns()
        if moved:
            write_config(path, folders[1], "v0", "w0", capture=SMALL)
        else:
            write_config(path, folders[0], "w0", capture=SMALL)
        capd.reload()
        out = time.time_ns()
        write_config(path, folders[0], "v0", "w0", capture=SMALL)
        capd.reload()
        ended = time.time_ns()
        ((since, until, cause),) = wait_for(lambda: gaps(capd, config), 20, "a record")
        assert began < since < out < until < ended
        assert (cause == NOT_CAPTURED) == (not moved)
        assert capd.stop() == 0


def test_what_does_not_come_back_is_missed(net: Namespace, tmp_path: Path) -> None:
    """By a range that ends later, whatever it is of; if it begins later, only of the interface."""
    index = net.add_veth("v0", "p0")
    net.add_veth("w0", "q0")
    folder = tmp_path / "captures"
    folder.mkdir()
    config = write_config(tmp_path / "capd.toml", folder, "v0", "w0", capture=SMALL)
    words = ("extract", "--config", str(config), "-o", "/dev/null", "--since", at(time.time_ns()))

    def lacking(capd: Recorder, *more: str) -> list[str]:
        said = capd.order(*words, *more).stderr
        return [line for line in said.splitlines() if "recorded from" in line]

    with Recorder(net, config) as capd:
        capd.wait_capturing("v0", "w0")
        with steady(net.name, index, STREAM, 1000) as source:
            wait_for(lambda: source.sent > 100, 20, "frames")
        began = time.time_ns()
        assert lacking(capd) == []
        write_config(config, folder, "w0", capture=SMALL)
        capd.reload()
        out = time.time_ns()
        (told,) = lacking(capd)
        assert lacking(capd, "--interface", "v0") == [told]
        assert lacking(capd, "--interface", "w0") == []
        losses = capd.order("losses", "--config", str(config))
        assert losses.stdout.splitlines()[-1] == told.removeprefix("incomplete: ")
        assert lacking(capd, "--until", at(began)) == []
        moment = told.removeprefix("incomplete: v0: not recorded from ").partition(" ")[0]
        assert format_time(began) < moment < format_time(out)
        later = (*words[:-1], at(out))
        assert "recorded from" not in capd.order(*later).stderr
        assert told in capd.order(*later, "--interface", "v0").stderr


def test_following_ends_where_the_recording_moves(net: Namespace, tmp_path: Path) -> None:
    """It waits for nothing that will not come, gives what did, and says where the rest is."""
    index = net.add_veth("v0", "p0")
    folders = tmp_path / "captures", tmp_path / "others"
    for folder in folders:
        folder.mkdir()
    config = write_config(tmp_path / "capd.toml", folders[0], "v0", capture=SMALL)
    made = tmp_path / "out.pcapng"
    words = ["extract", "--config", str(config), "-o", str(made), "--since", at(time.time_ns())]
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        wait_for(lambda: capd.status().rings, 20, "the ring in the status")
        with (
            running([*words, "--follow"], capd.runtime) as process,
            steady(net.name, index, STREAM, 1000),
        ):
            wait_for(lambda: made.exists() and made.stat().st_size > 10**5, 20, "packets")
            write_config(config, folders[1], "v0", capture=SMALL)
            capd.reload()
            _, said = process.communicate(timeout=30)
        assert process.returncode == 3
        assert f" on capd records into {folders[1]}: start again to have that\n" in said
        assert capd.stop() == 0
    whole = [packet for path in segments(folders[0], "v0") for packet in judge.packets(path)]
    assert list(judge.packets(made)) == whole
