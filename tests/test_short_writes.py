"""A disk that takes a part of each write, as POSIX allows: the rest is written, and none twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.frames import IMIX, Stream
from tests.support.ledger import all_files, assert_all_clean, check_ledger, complaints
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import Recorder, segments, write_config
from tests.support.short_writes import ShortWrites
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

STREAM = Stream(IMIX)
COUNT = 120_000
CAPTURE = 'ring_size = "256MiB"\nflush_interval = "100ms"\nrotate_size = "8MiB"\n'


@pytest.mark.fault(33)
def test_every_large_write_is_short(net: Namespace, tmp_path: Path) -> None:
    """Of the worker and of the archive process; nobody has to complain."""
    need("gcc", "zstd")
    index = net.add_veth("v0", "v1")
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    writes = ShortWrites(tmp_path)
    config = write_config(tmp_path / "capd.toml", directory, "v0", capture=CAPTURE)
    config.write_text(config.read_text() + "\n[compression]\nenabled = true\n")
    with (
        Recorder(net, config, writes.prefix) as capd,
        FrameSource(STREAM, index, net.name) as source,
    ):
        capd.wait_capturing("v0")
        source.inject_at(20_000, COUNT)
        wait_for(lambda: len(list(directory.glob("v0/*/*.pcapng.zst"))) > 2, 30, "compressed ones")
        wait_for(lambda: not segments(directory, "v0"), 30, "no raw one")
        assert capd.stop() == 0
    summary = check_ledger(capd, directory, "v0", STREAM, COUNT)
    assert summary.lost == 0
    assert complaints(capd) == []
    assert writes.count > 10 * summary.files
    assert_all_clean(all_files(directory, "v0"))
