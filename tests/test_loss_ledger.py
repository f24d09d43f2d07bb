"""From a loss to `capd losses`: the same numbers in the journal, the status and on the disk."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from capd.names import LEDGER_FOLDER
from tests.support.frames import Shape, Stream
from tests.support.net import Namespace
from tests.support.recorder import Recorder, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

SMALL = 'ring_size = "4MiB"\nflush_interval = "20ms"'
RING = r"WARNING v0: lost ([\d,]+) packets? at the ring "
UNKNOWN = "incomplete: what is missed at present is not known: "
LINK = r"WARNING v0: no packets from .*: the interface was set down"


def ledger(capd: Recorder, config: Path) -> list[dict[str, Any]]:
    """What `capd losses` says."""
    done = capd.order("losses", "--config", str(config), "--json", "--since", "10min")
    assert done.returncode == (3 if UNKNOWN in done.stderr else 0), done.stderr
    losses: list[dict[str, Any]] = json.loads(done.stdout)["losses"]
    return losses


def asked(capd: Recorder, config: Path) -> str:
    """The same for people."""
    done = capd.order("losses", "--config", str(config))
    return done.stdout + done.stderr


def remembered(capd: Recorder) -> list[dict[str, Any]]:
    """What the status has, in the same order."""
    return sorted(map(asdict, capd.status().losses), key=lambda one: int(one["since"]))


def among(records: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These, in that order: a gap begins with what was written last, maybe before them."""
    return [one for one in records if one in wanted]


def told(capd: Recorder) -> int:
    """Packets lost to the ring, by its messages."""
    found = re.findall(RING, "\n".join(capd.lines))
    return sum(int(count.replace(",", "")) for count in found)


def lost(losses: list[dict[str, Any]]) -> int:
    """The same, by these records."""
    return sum(one["packets"] for one in losses if one["stage"] == "ring")


def has_reported(capd: Recorder) -> bool:
    """Whether its ring was heard of: what was lost before the first word is in no sample."""
    return any(ring.reported_at for ring in capd.status().rings)


def test_a_loss_within_a_minute_of_another_is_told_at_once(net: Namespace, tmp_path: Path) -> None:
    """To whoever asks; it is on record a minute later."""
    index = net.add_veth("v0", "v1")
    captures = tmp_path / "captures"
    config = write_config(tmp_path / "capd.toml", captures, "v0", capture=SMALL)
    with (
        Recorder(net, config) as capd,
        FrameSource(Stream(Shape.fixed(700)), index, net.name) as source,
    ):
        capd.wait_capturing("v0")
        for _ in range(2):
            wait_for(lambda: has_reported(capd), 10, "the worker to be up, and how it was before")
            os.kill(capd.worker(), signal.SIGSTOP)
            source.inject(40_000)
            os.kill(capd.worker(), signal.SIGCONT)
            capd.wait_line(RING)
        dropped = wait_for(lambda: dropped_since(capd, told(capd)), 10, "the second one")
        assert lost(ledger(capd, config)) == dropped > told(capd)
        words = ("extract", "--config", str(config), "--since", "1min", "-o", "/dev/null")
        said = capd.order(*words, "--json").stderr
        assert lost(json.loads(said)["losses"]) == dropped


def dropped_since(capd: Recorder, before: int) -> int:
    """What the ring has lost by now, if that is more, and nothing of it comes any more."""
    (ring,) = capd.status().rings
    return ring.counters.dropped if ring.counters.dropped > before and not ring.filled else 0


@pytest.mark.fault(2)
def test_it_is_on_the_disk_and_outlives_the_daemon(net: Namespace, tmp_path: Path) -> None:
    """A ring that was full and a link that was down; then the daemon is killed, and another runs.

    Nothing is asked of a daemon for it: `capd losses` tells the same while none runs.
    """
    index = net.add_veth("v0", "v1")
    captures = tmp_path / "captures"
    config = write_config(tmp_path / "capd.toml", captures, "v0", capture=SMALL)
    with Recorder(net, config) as capd:
        with FrameSource(Stream(Shape.fixed(700)), index, net.name) as source:
            capd.wait_capturing("v0")
            worker = capd.worker()
            wait_for(lambda: has_reported(capd), 10, "the worker to be up, and how it was before")
            os.kill(worker, signal.SIGSTOP)
            source.inject(40_000)
            os.kill(worker, signal.SIGCONT)
            capd.wait_line(RING)
        net.set_link("v0", "down")
        capd.wait_line("WARNING v0: the interface was set down")
        told_now = r"v0: the link is down since \S+; the gap is put on record when it ends"
        wait_for(lambda: re.search(told_now, asked(capd, config)), 10, "to be told while it lasts")
        net.set_link("v0", "up")
        capd.wait_line(LINK)
        wait_for(lambda: len(ledger(capd, config)) >= 2, 10, "both to be on the disk")
        found = ledger(capd, config)
        assert {one["stage"] for one in found} == {"ring", "link"}
        assert lost(found) == told(capd) > 20_000
        wait_for(lambda: remembered(capd) == found, 10, "both to be in the status")
        capd.signal(signal.SIGKILL)
        capd.wait()
        assert ledger(capd, config) == found
        wait_for(lambda: f"{UNKNOWN}this is how it was" in asked(capd, config), 10, "a doubt")
    with Recorder(net, config) as capd:
        capd.wait_capturing("v0")
        wait_for(lambda: among(remembered(capd), found) == found, 10, "them to be remembered")
        capd.wait_line("WARNING v0: no packets from .*: capd was not capturing it")
        assert told(capd) == 0
        assert capd.order("list", "--config", str(config)).stdout.count(LEDGER_FOLDER) == 0
        assert capd.order("verify", "--config", str(config)).returncode == 0
        assert capd.stop() == 0
        after = ledger(capd, config)
    assert among(after, found) == found
    assert [one["cause"] for one in after if one not in found] == ["capd was not capturing it"]
    folder = captures / LEDGER_FOLDER
    samples = {one["samples"] for one in found if one["stage"] == "ring"}
    assert {one.name for one in folder.iterdir()} == {"losses.jsonl", *samples}
    assert stat.S_IMODE(folder.stat().st_mode) & 0o027 == 0
    assert {stat.S_IMODE(one.stat().st_mode) & 0o137 for one in folder.iterdir()} == {0}
    shown = capd.order("losses", "--samples", "--config", str(config)).stdout
    assert f"{lost(found):,}" in re.findall(r"^lost_ring +\S+ +(\S+)", shown, re.MULTILINE)
