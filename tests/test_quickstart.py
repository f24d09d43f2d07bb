"""The first thing that a new user runs."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.command import AS_NOBODY
from tests.support.frames import Shape, Stream
from tests.support.need import need, need_frame_source
from tests.support.net import Namespace
from tests.support.recorder import segments
from tests.support.xdp import FrameSource

QUICKSTART = Path(__file__).resolve().parent.parent / "packaging" / "quickstart"


@pytest.fixture
def net() -> Iterator[Namespace]:
    need("tshark", "capinfos", "tcpdump", "setpriv")
    need_frame_source()
    with Namespace() as namespace:
        yield namespace


def start(net: Namespace, folder: Path, *words: str) -> subprocess.Popen[str]:
    return net.popen(
        [str(QUICKSTART), *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_line(stream: Iterator[str], pattern: str) -> None:
    """Read up to a line that matches."""
    seen = []
    for line in stream:
        seen.append(line)
        if re.search(pattern, line):
            return
    pytest.fail(f"no line like {pattern!r} in {seen}")


def test_it_records_the_default_interface(net: Namespace, tmp_path: Path) -> None:
    """Into ./captures of whoever calls it, and lists what it has written."""
    stream = Stream(Shape.fixed(200))
    index = net.add_veth("v0", "v1")
    net.run(["ip", "route", "add", "default", "dev", "v0"])
    process = start(net, tmp_path, "--seconds", "5")
    assert process.stderr is not None
    wait_line(process.stderr, "v0: capturing everything")
    with FrameSource(stream, index, net.name) as source:
        source.inject(1000)
    output, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    (path,) = segments(tmp_path / "captures", "v0")
    size = path.stat().st_size
    heading = f"Recorded into {tmp_path}/captures:\n"
    assert output.endswith(f"{heading}  {path} ({size} bytes)\n")
    judge.check_numbers([path], stream, 1000)
    judge.assert_clean(path)
    assert "v0: received 1,000, written 1,000, dropped 0 " in log
    assert list(tmp_path.iterdir()) == [tmp_path / "captures"]


def test_another_interface(net: Namespace, tmp_path: Path) -> None:
    net.add_veth("v0", "v1")
    net.run(["ip", "route", "add", "default", "dev", "v0"])
    process = start(net, tmp_path, "--seconds", "2", "--interface", "v1")
    _output, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert len(segments(tmp_path / "captures", "v1")) == 1
    assert segments(tmp_path / "captures", "v0") == []


def test_a_terminal_that_is_closed(net: Namespace, tmp_path: Path) -> None:
    """Nobody would know of the recording, or reach it: where it is found goes with the script."""
    net.add_veth("v0", "v1")
    process = start(net, tmp_path, "--interface", "v0")
    assert process.stderr is not None
    wait_line(process.stderr, "capd records 1 interface")
    process.send_signal(signal.SIGHUP)
    _output, log = process.communicate(timeout=60)  # when capd, too, has closed its end
    assert process.returncode == -signal.SIGHUP
    assert "capd has written all that it captured" in log


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "Usage: packaging/quickstart [--seconds N] [--interface NAME]"),
        (["eth0"], "Usage: packaging/quickstart [--seconds N] [--interface NAME]"),
        (["--seconds"], "packaging/quickstart: --seconds needs a value"),
        (["--interface"], "packaging/quickstart: --interface needs a value"),
        (["--seconds", "soon"], "'soon' is not a number of seconds above 0"),
        (["--interface", 'v0"; x'], 'interface[0].name: "v0\\"; x" has a space in it'),
    ],
)
def test_wrong_usage(net: Namespace, tmp_path: Path, words: list[str], said: str) -> None:
    process = start(net, tmp_path, *words)
    output, log = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in log
    assert "Recorded" not in output
    assert list(tmp_path.iterdir()) == []


def test_without_root(net: Namespace) -> None:
    done = net.run([*AS_NOBODY, str(QUICKSTART)], check=False)
    assert (done.returncode, done.stderr) == (1, "packaging/quickstart: capturing needs root\n")
