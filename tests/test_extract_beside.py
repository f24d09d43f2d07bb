"""`capd extract` beside all else at work: rotation, compression, the reaper, a full link."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.command import running
from tests.support.frames import IMIX, Shape, Stream
from tests.support.load import steady, stopped
from tests.support.net import Namespace
from tests.support.recorder import Recorder, archive_of, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

pytestmark = [pytest.mark.alone, pytest.mark.fault(46)]

LARGE = Stream(Shape.fixed(1400))
QUICK = 'ring_size = "256MiB"\nrotate_size = "8MiB"\nflush_interval = "100ms"\n'
LEAST = 3000  # packets of LARGE that are in a segment
COMPRESSED = '[compression]\nenabled = true\nsection_size = "1MiB"\n'


def extracting(
    capd: Recorder, config: Path, output: int
) -> AbstractContextManager[subprocess.Popen[str]]:
    """`capd extract` of all there is."""
    words = ["extract", "--config", str(config), "--since", "1h"]
    return running(words, capd.runtime, output)


class Captures:
    """What is in the directory at present, and its config: few segments stay, all compressed."""

    def __init__(self, folder: Path, most: int) -> None:
        self.path = folder / "captures"
        self.path.mkdir()
        self.config = write_config(
            *(folder / "capd.toml", self.path, "v0"),
            storage=f"max_files = {most}",
            capture=QUICK,
        )
        self.config.write_text(self.config.read_text() + COMPRESSED)

    @property
    def raw(self) -> list[Path]:
        return segments(self.path, "v0")

    @property
    def compressed(self) -> list[Path]:
        return list((self.path / "v0").glob("*/*.pcapng.zst"))

    def numbers(self) -> set[str]:
        """Of all segments that are finished, in whichever form."""
        return {path.name.removesuffix(".zst") for path in (*self.raw, *self.compressed)}


def assert_nothing_between(made: Path, said: str, sent: int) -> list[int]:
    """Each once, in order, up to what had been sent; missing is what was said to be deleted."""
    judge.assert_clean(made)
    found = judge.numbers([made], LARGE)
    assert f"\n{len(found):,} packets out of" in said
    steps = [after - before for before, after in pairwise(found)]
    assert min(steps) > 0
    assert max(steps) == 1 or "was deleted before it could be read" in said
    assert found[-1] >= sent - 1
    return found


@pytest.mark.fault(38)
def test_all_is_replaced_and_deleted_while_it_reads(net: Namespace, tmp_path: Path) -> None:
    """Segments in three states; all are gone before most of their packets are taken."""
    index = net.add_veth("v0", "v1")
    captures, made = Captures(tmp_path, 10), tmp_path / "out.pcapng"
    with (
        Recorder(net, captures.config) as capd,
        steady(net.name, index, LARGE, 8000) as source,
        ExitStack() as stack,
    ):
        capd.wait_capturing("v0")
        wait_for(lambda: len(captures.compressed) >= 4, 20, "compressed segments")
        pipe, end = os.pipe()
        with stopped(archive_of(capd.pid)):
            wait_for(lambda: len(captures.raw) >= 2, 20, "raw segments")
            assert captures.compressed
            assert parts(captures.path, "v0")
            there, sent = captures.numbers(), source.sent
            process = stack.enter_context(extracting(capd, captures.config, output=end))
            os.close(end)
            first = os.read(pipe, 4096)
        with made.open("wb") as file, open(pipe, "rb") as rest:
            wait_for(lambda: not there & captures.numbers(), 60, "all of it deleted")
            file.write(first)
            file.writelines(iter(lambda: rest.read(2**20), b""))
        _, said = process.communicate(timeout=30)
    found = assert_nothing_between(made, said, sent)
    assert len(there) >= 5
    assert len(found) > len(there) * LEAST
    assert found == [*range(found[0], found[-1] + 1)]
    assert "deleted" not in said


def test_again_and_again_while_all_goes_on(net: Namespace, tmp_path: Path) -> None:
    """The reaper a few segments behind the worker; each answer is whole, or says what is not."""
    index = net.add_veth("v0", "v1")
    captures, made = Captures(tmp_path, 6), tmp_path / "out.pcapng"
    with Recorder(net, captures.config) as capd, steady(net.name, index, LARGE, 20_000) as source:
        capd.wait_capturing("v0")
        wait_for(lambda: len(captures.numbers()) >= 5, 20, "segments")
        for _ in range(8):
            before, sent = captures.numbers(), source.sent
            with (
                made.open("wb") as file,
                extracting(capd, captures.config, output=file.fileno()) as process,
            ):
                _, said = process.communicate(timeout=60)
            assert len(assert_nothing_between(made, said, sent)) > LEAST
            wait_for(partial(_others, captures, before), 20, "a rotation and a deletion")


def _others(captures: Captures, before: set[str]) -> bool:
    now = captures.numbers()
    return bool(now - before and before - now)


def test_a_full_link_loses_nothing(net: Namespace, tmp_path: Path) -> None:
    """While all that was recorded before is read again and again, on every processor."""
    count = 1_000_000
    index = net.add_veth("v0", "v1")
    config = write_config(
        *(tmp_path / "capd.toml", tmp_path, "v0"),
        capture='ring_size = "256MiB"\nrotate_size = "16MiB"',
    )
    times = 0
    with (
        Recorder(net, config) as capd,
        FrameSource(Stream(IMIX), index, net.name) as source,
        open(os.devnull, "wb") as nowhere,
    ):
        capd.wait_capturing("v0")
        source.inject(count)
        injecting = threading.Thread(target=source.inject, args=(4 * count,))
        injecting.start()
        while injecting.is_alive():
            with extracting(capd, config, output=nowhere.fileno()) as process:
                _, said = process.communicate(timeout=120)
            given = re.search(r"^([\d,]+) packets out of", said, re.MULTILINE)
            assert given is not None, said
            assert given[1] != "0"
            times += 1
        assert capd.stop() == 0
    summary = capd.summary("v0")
    assert (summary.received, summary.written, summary.lost) == (5 * count, 5 * count, 0)
    assert times
