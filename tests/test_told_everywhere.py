"""One burst of loss, as the service tells of it everywhere: the same number in each place."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

from capd.events import Kind
from tests.support.load import RATE, STREAM
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need_frame_source
from tests.support.recorder import segments
from tests.support.roots import System
from tests.support.service import messages, workers
from tests.support.statistics import interface_statistics
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

CONFIG = f"""
[storage]
directory = "{CAPTURES}"
[capture]
ring_size = "4MiB"
flush_interval = "200ms"
[alert]
per = "5s"
command = ["/usr/bin/mail", "-s", "capd lost packets", "root"]
[metrics]
listen = "127.0.0.1:9917"
[[interface]]
name = "v0"
"""
SCRAPE = (
    "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9917/metrics').read().decode())"
)
MAILBOX = "/var/mail/root"
FEW = 2_000  # packets a second, of which the ring holds three seconds


def test_a_second_of_loss() -> None:
    """The journal, the status, the ledger, the metrics, the segment, and a mail in a mailbox."""
    need_frame_source()
    with Machine(System.DEBIAN_13) as machine:
        index = machine.add_veth("v0", "v1")
        machine.write_config(CONFIG)
        machine.systemctl("start", "capd", "capd-metrics")
        with FrameSource(STREAM, index, machine.name) as source:
            (worker,) = wait_for(lambda: workers(machine), 20, "a worker")
            source.inject_at(FEW, FEW)
            os.kill(worker, signal.SIGSTOP)
            source.inject_at(RATE, RATE)
            os.kill(worker, signal.SIGCONT)
            wait_for(lambda: messages(machine, Kind.LOSS, "v0"), 20, "the loss")
            source.inject_at(FEW, FEW)
        wait_for(lambda: messages(machine, Kind.ALL_CLEAR, "v0"), 30, "the all-clear")
        mailbox = machine.root / MAILBOX.lstrip("/")
        wait_for(lambda: mails(mailbox) == 2, 30, "both mails")
        trial = machine.run("capd", "alert", "--test")
        assert trial.stdout == "delivered by /usr/bin/mail\n"
        wait_for(lambda: mails(mailbox) == 3, 30, "the mail of the trial")
        (record,) = messages(machine, Kind.LOSS, "v0")
        lost = int(record["CAPD_PACKETS"])
        assert lost > 1_000
        explained = machine.run("journalctl", "-u", "capd", "-x", "--no-pager").stdout
        assert "Subject: Packets of v0 were lost" in explained
        assert f"are in no file: {lost} of them" in " ".join(explained.replace("░░", "").split())
        (alert,) = messages(machine, Kind.ALERT, "v0")
        assert int(alert["CAPD_PACKETS"]) == lost
        assert int(alert["PRIORITY"]) <= 4
        assert f"v0: alert: lost {lost:,} packets at the ring" in mailbox.read_text()
        assert f"packets    {lost}\n" in mailbox.read_text()
        status = json.loads(machine.run("capd", "status", "--json").stdout)
        assert status["rings"][0]["counters"]["dropped"] == lost
        assert [loss["packets"] for loss in status["losses"] if loss["stage"] == "ring"] == [lost]
        ledger = json.loads(machine.run("capd", "losses", "--json").stdout)
        assert ledger["totals"]["ring"]["packets"] == lost
        scraped = machine.run("python3", "-c", SCRAPE).stdout
        (counted,) = re.findall(r"^capd_ring_dropped_packets_total{.*} (\S+)$", scraped, re.M)
        assert float(counted) == lost
        machine.systemctl("stop", "capd")
        files = segments(machine.captures, "v0")
        assert sum(interface_statistics(path)[-1].os_dropped or 0 for path in files) == lost
        assert shown_by_tshark(files) == lost


def mails(mailbox: Path) -> int:
    """How many are in it."""
    return len(re.findall("^From ", mailbox.read_text(), re.M)) if mailbox.exists() else 0


def shown_by_tshark(files: list[Path]) -> int:
    """The drops that the last statistics block of each file has."""
    total = 0
    for path in files:
        words = ("tshark", "-X", "read_format:MIME Files Format", "-T", "fields", "-r", str(path))
        field = ("-e", "pcapng.options.option.data.interface.dropped_by_os")
        shown = subprocess.run([*words, *field], capture_output=True, text=True, check=True)
        total += int(shown.stdout.strip().split(",")[-1])
    return total
