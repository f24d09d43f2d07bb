"""Metrics of a real capd: what is scraped is what the ring counted, and dashboards show it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from capd.messages import Counters
from tests.support.frames import Shape, Stream
from tests.support.need import need
from tests.support.net import Namespace
from tests.support.recorder import CAPD, Recorder, write_config
from tests.support.roots import CHECKOUT
from tests.support.scrape import METRICS, Prometheus, answers, fetch, metrics, sample, samples
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

RULES = CHECKOUT / "packaging" / "prometheus" / "capd.rules.yml"
DASHBOARD = CHECKOUT / "packaging" / "grafana" / "capd.json"
RING = {"interface": "v0", "ring": "v0"}

SERIES = {
    "capd_received_packets_total": "received",
    "capd_written_packets_total": "written",
    "capd_ring_dropped_packets_total": "dropped",
    "capd_ring_freezes_total": "freezes",
    "capd_disk_lost_packets_total": "disk",
    "capd_malformed_packets_total": "malformed",
    "capd_overlap_packets_total": "overlap",
    "capd_written_bytes_total": "bytes",
}


def queries() -> Iterator[str]:
    """Every expression of the dashboard, with its variables filled in."""
    board = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".+")
            assert "$" not in text, text
            yield text


def config_of(tmp_path: Path) -> Path:
    """One interface, all that is optional, and little before a segment is full."""
    (tmp_path / "second").mkdir()
    config = write_config(
        tmp_path / "capd.toml",
        tmp_path / "captures",
        "v0",
        capture='ring_size = "4MiB"\nrotate_size = "8MiB"\nflush_interval = "20ms"',
    )
    tables = '[compression]\nenabled = true\n[hook]\nsegment_closed = ["/bin/true"]\n'
    tables += (
        f'[archive]\ndirectory = "{tmp_path / "second"}"\nmax_usage = "100%"\nmax_age = "1h"\n'
    )
    config.write_text(f"{tables}{config.read_text()}")
    return config


def served(config: Path) -> Path:
    """The same with an address; the daemon's has none, or it would serve metrics too."""
    path = config.with_name("served.toml")
    path.write_text(f'[metrics]\nlisten = "{METRICS}"\n{config.read_text()}')
    return path


def scraped(net: Namespace) -> Counters:
    """The ring's counters as they are served."""
    found = samples(fetch(net, METRICS))
    return Counters(**{key: int(sample(found, name, **RING)) for name, key in SERIES.items()})


def lose(capd: Recorder, source: FrameSource) -> None:
    """More than the ring holds, while nobody drains it."""
    worker = capd.worker()
    os.kill(worker, signal.SIGSTOP)
    state = Path(f"/proc/{worker}/stat")
    wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", 10, "a stopped worker")
    source.inject(40_000)
    os.kill(worker, signal.SIGCONT)


def shown(prometheus: Prometheus, query: str) -> bool:
    """Whether a panel with this query has something to draw."""
    return any(not math.isnan(float(one["value"][1])) for one in prometheus.query(query))


def test_a_loss_is_scraped_and_shown(net: Namespace, tmp_path: Path) -> None:
    """To the packet; every panel has data, the alert fires, and a dead daemon is no healthy one."""
    need("prometheus", "promtool")
    index = net.add_veth("v0", "v1")
    config = config_of(tmp_path)
    prometheus = Prometheus(net, tmp_path, RULES)
    with (
        Recorder(net, config) as capd,
        FrameSource(Stream(Shape.fixed(700)), index, net.name) as source,
        metrics(net, served(config), capd.runtime) as helper,
        prometheus.running(),
    ):
        capd.wait_capturing("v0")
        wait_for(lambda: prometheus.query("capd_received_packets_total"), 20, "the first scrape")
        lose(capd, source)
        source.inject_at(20_000, 60_000)
        wait_for(lambda: scraped(net).received == 100_000, 20, "all that was sent")
        wait_for(lambda: scraped(net).unaccounted == 0, 20, "a drained ring")
        counted = scraped(net)
        assert counted.dropped > 10_000
        text = fetch(net, METRICS)
        for query in queries():
            wait_for(partial(shown, prometheus, query), 20, query)
        wait_for(lambda: "CapdRingLosesPackets" in prometheus.alerts(), 20, "the alert")
        assert not prometheus.alerts() & {"CapdDown", "CapdDiskLosesPackets", "CapdNoWorker"}
        assert capd.stop() == 0
        wait_for(lambda: samples(fetch(net, METRICS))["capd_up", frozenset()] == 0, 20, "it")
        assert "capd_received" not in fetch(net, METRICS)
        helper.send_signal(signal.SIGTERM)
        assert helper.wait(5) == 0
    totals = capd.totals("v0")
    assert totals["received"] == 100_000
    assert totals["dropped"] == counted.dropped
    assert totals["written"] == counted.written
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_daemon_serves_them_in_the_foreground(net: Namespace, tmp_path: Path) -> None:
    """By a child that is replaced, moves at a reload, and ends with the daemon."""
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path / "captures", "v0")
    plain, other = config.read_text(), "127.0.0.1:9918"

    def up(address: str) -> bool:
        return answers(net, address, "/metrics", "capd_up 1.0")

    with Recorder(net, served(config)) as capd:
        wait_for(lambda: up(METRICS), 20, "metrics")
        (child,) = children(capd.pid, "metrics")
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: up(METRICS) and children(capd.pid, "metrics") != [child], 20, "another")
        served(config).write_text(f'[metrics]\nlisten = "{other}"\n{plain}')
        answer = capd.order("reload").stdout
        assert f"metrics.listen: {other}; before: {METRICS}" in answer
        wait_for(lambda: up(other) and not answers(net, METRICS, "/metrics"), 20, "the new address")
        (child,) = children(capd.pid, "metrics")
        capd.signal(signal.SIGKILL)
        capd.wait()
        wait_for(lambda: not Path(f"/proc/{child}").exists(), 10, "its end with the daemon")


def children(pid: int, word: str) -> list[int]:
    """The processes that run this word of capd for a daemon."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in found
        if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    ]


@pytest.mark.parametrize(
    ("tables", "code", "said"),
    [
        ("", 0, "metrics.listen is not set, so there is nothing to serve"),
        ('[metrics]\nlisten = "here"\n', 2, "metrics.listen: "),
        ('[metrics]\nlisten = "192.0.2.1:9917"\n', 1, "Cannot assign requested address"),
        ('[metrics]\nlisten = "127.0.0.1:9917"\n', 1, "another program has it"),
    ],
)
def test_what_cannot_be_served(
    net: Namespace, tmp_path: Path, tables: str, code: int, said: str
) -> None:
    config = tmp_path / "capd.toml"
    config.write_text(f'{tables}[[interface]]\nname = "v0"\n')
    blocker = tmp_path / "blocker.toml"
    blocker.write_text(f'[metrics]\nlisten = "{METRICS}"\n[[interface]]\nname = "v0"\n')
    with metrics(net, blocker, str(tmp_path)):
        done = net.run([str(CAPD), "metrics", "--config", str(config)], check=False)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
