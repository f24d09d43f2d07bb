"""What a run that was cut off has left is salvaged by the next one, while that captures."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support import judge
from tests.support.frames import Shape, Stream
from tests.support.ledger import assert_all_clean
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

STREAM = Stream(Shape.fixed(700))
CAPTURE = 'ring_size = "64MiB"\nrotate_size = "8MiB"\n'  # holds all that a test sends


def kill(capd: Recorder) -> None:
    """The daemon, in the foreground: its rings go with it."""
    capd.signal(signal.SIGKILL)
    assert capd.wait() == -signal.SIGKILL


def written(capd: Recorder, count: int) -> None:
    wait_for(lambda: capd.status().rings[0].counters.written == count, 20, f"{count} written")


def test_cut_off_again_and_again(net: Namespace, tmp_path: Path) -> None:
    """Every packet that was written is in a file of its final name; nothing is left over."""
    index = net.add_veth("v0", "v1")
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    config = write_config(tmp_path / "capd.toml", directory, "v0", capture=CAPTURE)
    runs, count = 4, 15_000
    with FrameSource(STREAM, index, net.name) as source:
        for number in range(runs):
            with Recorder(net, config) as capd:
                capd.wait_capturing("v0")
                source.inject_at(20_000, count)
                written(capd, count)
                if number < runs - 1:
                    kill(capd)
                else:
                    wait_for(lambda: len(parts(directory, "v0")) == 2, 20, "one segment, one spare")
                    capd.wait_line("WARNING .* packets: cut at the last whole block")
                    assert capd.stop() == 0
    assert parts(directory, "v0") == []
    found = judge.numbers(segments(directory, "v0"), STREAM)
    assert found == [*range(runs * count)]
    assert_all_clean(segments(directory, "v0"))
    assert list(directory.rglob("*.damaged")) == []


def test_of_an_interface_that_is_gone(net: Namespace, tmp_path: Path) -> None:
    """Its folder has no ring: all that is in it is dead."""
    index = net.add_veth("v0", "v1")
    net.add_veth("w0", "w1")
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    config = write_config(tmp_path / "capd.toml", directory, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(20_000, 3_000)
        written(capd, 3_000)
        kill(capd)
    left = directory / "v0" / "0000000009.pcapng.part"
    left.write_bytes(b"not a segment at all")
    write_config(config, directory, "w0", capture=CAPTURE)
    with Recorder(net, config) as capd:
        capd.wait_capturing("w0")
        wait_for(lambda: parts(directory, "v0") == [], 20, "no unfinished file")
        capd.wait_line("WARNING .*v0/0000000001.pcapng.part is .*, 3000 packets: cut at the last")
        capd.wait_line(
            "ERROR .*v0/0000000009.pcapng.part is set aside as 0000000009.pcapng.damaged"
        )
        assert len(parts(directory, "w0")) == 2
    assert judge.numbers(segments(directory, "v0"), STREAM) == [*range(3_000)]
    assert (directory / "v0" / "0000000009.pcapng.damaged").read_bytes() == b"not a segment at all"


def test_every_closed_segment_has_an_index(net: Namespace, tmp_path: Path) -> None:
    """Soon after it was closed; `capd list` and `capd verify` rely on it."""
    index = net.add_veth("v0", "v1")
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    config = write_config(tmp_path / "capd.toml", directory, "v0", capture=CAPTURE)
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(20_000, 40_000)
        wait_for(lambda: len(segments(directory, "v0")) > 2, 20, "closed segments")
        wait_for(lambda: missing(directory) == [], 20, "an index of each")
        verified = capd.order("verify", "--config", str(config))
        assert verified.returncode == 0, verified
        assert "all whole" in verified.stdout
        assert "no index" not in verified.stdout


def compressed(capd: Recorder) -> int:
    """How many segments the archive process says that it has compressed."""
    archive = capd.status().archive
    return archive.compressed if archive is not None else 0


def missing(directory: Path) -> list[Path]:
    """Segments without an index."""
    return [path for path in segments(directory, "v0") if not Path(f"{path}.idx").exists()]


def test_compressed(net: Namespace, tmp_path: Path) -> None:
    """Nothing but compressed segments in the end; the counts are in the list."""
    index = net.add_veth("v0", "v1")
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    config = write_config(tmp_path / "capd.toml", directory, "v0", capture=CAPTURE)
    config.write_text(config.read_text() + "\n[compression]\nenabled = true\n")
    with Recorder(net, config) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        source.inject_at(20_000, 40_000)
        wait_for(lambda: list(directory.glob("v0/*/*.zst")), 20, "compressed segments")
        wait_for(lambda: segments(directory, "v0") == [], 20, "no raw segment")
        verified = capd.order("verify", "--config", str(config))
        assert verified.returncode == 0, verified
        wait_for(lambda: compressed(capd) > 0, 20, "the status to say so")
        assert capd.stop() == 0
    with Recorder(net, config) as capd:  # the last one was closed by the stop
        capd.wait_capturing("v0")
        wait_for(lambda: segments(directory, "v0") == [], 20, "no raw segment")
        listed = ("list", "--config", str(config))
        wait_for(lambda: "40,000 packets" in capd.order(*listed).stdout, 20, "all in the list")
        assert not list(directory.rglob("*.part.idx"))
