"""`capd extract` after a daemon that was killed: numbers are left out, and nothing is missing."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.support.extracting import at
from tests.support.frames import Shape, Stream
from tests.support.load import steady
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for

SMALL = 'ring_size = "16MiB"\nrotate_size = "8MiB"\nflush_interval = "200ms"\n'


def test_a_number_that_a_killed_daemon_left_out_is_no_hole(net: Namespace, tmp_path: Path) -> None:
    """The file made ahead is removed; all that is said to be missing is the time without capd."""
    index = net.add_veth("v0", "p0")
    captures = tmp_path / "captures"
    config = write_config(tmp_path / "capd.toml", captures, "v0", capture=SMALL)
    extract = ["extract", "--config", str(config), "-o", "/dev/null"]
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        with steady(net.name, index, Stream(Shape.fixed(700)), 1000) as source:
            wait_for(lambda: source.sent >= 500, 20, "frames")
            since = time.time_ns()
            wait_for(lambda: source.sent >= 1000, 20, "more")
            wait_for(lambda: len(parts(captures, "v0")) == 2, 20, "a file made ahead")
        wait_for(lambda: capd.order(*extract, "--since", at(since)).returncode == 0, 20, "them")
        capd.signal(signal.SIGKILL)
        capd.wait()
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        capd.wait_line("WARNING v0: no packets from .*: capd was not capturing it")
        wait_for(lambda: len(segments(captures, "v0")) == 1, 20, "the salvaged segment")
        with steady(net.name, index, Stream(Shape.fixed(700)), 1000) as source:
            wait_for(lambda: source.sent >= 1000, 20, "frames")
        done = capd.order(*extract, "--since", at(since))
        print(done.stderr, parts(captures, "v0"))
        assert done.returncode == 3
        (told,) = (line for line in done.stderr.splitlines() if line.startswith("incomplete: "))
        assert told.endswith("capd was not capturing it")
        numbers = {int(path.name.partition(".")[0]) for path in parts(captures, "v0")}
    assert 2 not in numbers
    assert segments(captures, "v0")[0].name.endswith("_0000000001.pcapng")
