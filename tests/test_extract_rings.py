"""`capd extract` of rings of which nothing wanted is in a segment yet."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from capd.units import SECOND, format_time
from tests.support import judge
from tests.support.beside import Daemon
from tests.support.command import running
from tests.support.extracting import at, frame, put
from tests.support.frames import Shape, Stream
from tests.support.net import Namespace
from tests.support.recorder import Recorder, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource


def test_what_is_in_the_ring_alone(tmp_path: Path) -> None:
    """Its disk refuses everything, and what was recorded before is of another time."""
    daemon = Daemon(tmp_path)
    daemon.status.rings[0] = replace(daemon.ring, filled=0.2)
    now = time.time_ns()
    words = ("--since", at(now - 1800 * SECOND), "--until", at(now - 60 * SECOND))
    told = f"v0: packets from {format_time(now - 1800 * SECOND)} on may still be in the ring"
    put(daemon.captures, "v0", 1, [(now - 3000 * SECOND, frame(0))], "raw")
    assert daemon.lacking(*words) == [told]
    daemon.status.rings[0] = replace(daemon.ring, filled=0.2, since=now - 59 * SECOND)
    assert told not in daemon.lacking(*words)


def test_who_follows_hears_what_is_not_recorded(tmp_path: Path) -> None:
    """When it happens: taken out, not there at all, back again, and nobody to tell of it."""
    daemon = Daemon(tmp_path)
    with (tmp_path / "capd.toml").open("a") as file:
        file.write('[[interface]]\nname = "x0"\n')
    other = replace(daemon.ring, ring="w0", interface="w0")
    daemon.status.rings.append(other)
    daemon.tell()
    words = ("--config", str(tmp_path / "capd.toml"), "--follow", "-o", "/dev/null")
    named = [word for name in ("v0", "x0") for word in ("--interface", name)]
    with running(["extract", *words, *named], daemon.runtime) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("x0: not recorded as of ")
        daemon.status.rings[:] = [other]
        daemon.tell()
        assert process.stderr.readline().startswith("v0: not recorded as of ")
        daemon.status.rings[:] = [daemon.ring]
        daemon.tell()
        assert process.stderr.readline() == "v0: recorded again\n"
        (daemon.runtime / "status.json").unlink()
        told = process.stderr.readline()
        assert told.startswith("what is recorded now is not known: capd does not run: there is no ")
        daemon.tell()
        assert process.stderr.readline() == "capd tells again what it records\n"


def test_the_first_packet_is_waited_for(net: Namespace, tmp_path: Path) -> None:
    """The one second that it may stay in the ring is not the end of the answer."""
    index = net.add_veth("v0", "p0")
    net.add_veth("w0", "q0")
    captures, made = tmp_path / "captures", tmp_path / "out.pcapng"
    captures.mkdir()
    capture = 'ring_size = "4MiB"\nflush_interval = "2s"'
    config = write_config(tmp_path / "capd.toml", captures, "v0", "w0", capture=capture)
    stream = Stream(Shape.fixed(200))
    with Recorder(net, config) as capd, FrameSource(stream, index, net.name) as source:
        capd.wait_capturing("v0", "w0")
        wait_for(lambda: len(capd.status().rings) == 2, 10, "both in the status")
        words = ("--config", str(config), "--since", at(time.time_ns()), "-o", str(made))
        source.inject(1)
        done = capd.order("extract", *words, "--interface", "v0")
        assert done.returncode == 0, done.stderr
        assert len(list(judge.packets(made))) == 1
        assert capd.stop() == 0
