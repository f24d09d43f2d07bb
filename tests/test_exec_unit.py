"""Commands of the config, run by the unit that is for them: mail, and what must not stop it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from capd.events import Kind
from capd.names import HANDED_FILE
from tests.support.load import RATE, STREAM
from tests.support.machine import CAPTURES, Machine
from tests.support.need import need
from tests.support.service import messages, workers
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

MAIL = '["/usr/bin/mail", "-s", "capd lost packets", "root"]'
CONFIG = f"""
[storage]
directory = "{CAPTURES}"
[capture]
ring_size = "4MiB"
flush_interval = "20ms"
[alert]
command = {MAIL}
[[interface]]
name = "t*[0-9]"
"""
HOOK = '[hook]\nsegment_closed = ["/usr/local/bin/take"]\n'
PATIENT = CONFIG.replace('"4MiB"', '"64MiB"').replace('"20ms"', '"200ms"')
"""With a ring that loses nothing while the machine is busy."""
# It dies once, as for want of memory; then it notes who reads how much of what.
TAKE = """#!/bin/sh
[ -e /var/lib/capd/taken ] || { touch /var/lib/capd/taken; kill -9 $$; }
echo "$(id -un) $(wc -c <"$CAPD_PATH") $CAPD_SIZE $CAPD_PACKETS" >>/var/lib/capd/taken
"""
UNITS = ("/usr/lib/systemd/system/capd-exec.path", "/usr/lib/systemd/system/capd-exec.service")


@pytest.fixture
def alerting(machine: Machine) -> Iterator[Machine]:
    """One whose capd mails its alerts to root, there."""
    need("/usr/sbin/dma")
    machine.write_config(CONFIG)
    machine.systemctl("start", "capd")
    yield machine
    machine.systemctl("stop", "capd")


def mails(machine: Machine) -> list[str]:
    """What root got."""
    mailbox = machine.root / "var" / "mail" / "root"
    return re.split(r"(?m)^From ", mailbox.read_text())[1:] if mailbox.exists() else []


def try_it(machine: Machine) -> str:
    """What `capd alert --test` says, once the mail is there."""
    before = len(mails(machine))
    done = machine.run("capd", "alert", "--test", check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    wait_for(lambda: len(mails(machine)) == before + 1, 30, "the mail")
    return done.stdout


def told(machine: Machine, kind: Kind) -> list[str]:
    """What the unit has said of this kind."""
    found = machine.journal("capd-exec")
    return [str(one["MESSAGE"]) for one in found if one.get("MESSAGE_ID") == kind.message_id]


def test_a_mail_arrives(alerting: Machine) -> None:
    """By a mailer that needs its set-group-id bit, and delivers after `mail` has ended."""
    assert try_it(alerting) == "delivered by /usr/bin/mail\n"
    assert "this is a test of the alerts" in mails(alerting)[-1]
    assert "\nSubject: capd lost packets\n" in mails(alerting)[-1]


def test_the_units_are_in_order(machine: Machine) -> None:
    done = machine.run("systemd-analyze", "verify", *UNITS)
    assert (done.stdout, done.stderr) == ("", "")


def test_it_is_there_for_every_life_of_capd(alerting: Machine) -> None:
    """Though the folder of events goes with one, and comes with the next."""
    for orders in (["restart"], ["stop", "start"]):
        for order in orders:
            alerting.systemctl(order, "capd")
        try_it(alerting)


def test_what_is_no_event_starts_it_once(alerting: Machine) -> None:
    """And not again and again, until systemd has enough of it."""
    try_it(alerting)
    alerting.run("mkdir", "/run/capd/events/junk")
    wait_for(lambda: "set aside" in "".join(told(alerting, Kind.NOT_DELIVERED)), 20, "it")
    wait_for(lambda: alerting.property("SubState", "capd-exec") == "dead", 20, "its end")
    assert alerting.property("SubState", "capd-exec.path") == "waiting"
    assert len(told(alerting, Kind.NOT_DELIVERED)) == 1
    assert alerting.run("ls", "-A", "/run/capd/events").stdout == ".junk\n"
    try_it(alerting)


def test_the_last_alert(alerting: Machine, interface: tuple[str, int]) -> None:
    """Of a loss that was a moment ago when the service was told to stop."""
    name, index = interface
    (worker,) = wait_for(lambda: workers(alerting), 20, "a worker")
    before = len(mails(alerting))
    os.kill(worker, signal.SIGSTOP)
    with FrameSource(STREAM, index, alerting.name) as source:
        source.inject_at(RATE, RATE)
    os.kill(worker, signal.SIGCONT)
    alerting.systemctl("stop", "capd")
    (record,) = messages(alerting, Kind.LOSS, name)
    (alert,) = messages(alerting, Kind.ALERT, name)
    assert alert["CAPD_PACKETS"] == record["CAPD_PACKETS"]
    (mail,) = wait_for(lambda: mails(alerting)[before:], 30, "the mail")
    assert f"{name}: alert: lost {int(record['CAPD_PACKETS']):,} packets at the ring" in mail
    assert alerting.run("ls", "/run/capd", check=False).returncode == 2


def test_finished_segments_are_handed_over(alerting: Machine, interface: tuple[str, int]) -> None:
    """By the user capd; a command that the kernel kills for its memory has failed, and no more."""
    name, index = interface
    take = alerting.root / "usr" / "local" / "bin" / "take"
    take.write_text(TAKE)
    take.chmod(0o755)
    alerting.write_config(PATIENT)
    alerting.systemctl("restart", "capd")
    alerting.write_config(HOOK + PATIENT)
    alerting.systemctl("reload", "capd")
    wait_for(lambda: workers(alerting), 20, "a worker")
    wait_for((alerting.captures / HANDED_FILE).exists, 20, "the hook")
    with FrameSource(STREAM, index, alerting.name) as source:
        source.inject_at(RATE, RATE)
    for order in ("stop", "start"):
        alerting.systemctl(order, "capd")
    (failure,) = wait_for(lambda: messages(alerting, Kind.HOOK_FAILED, name), 30, "the failure")
    assert "signal 9" in str(failure["MESSAGE"])
    taken = alerting.captures / "taken"
    user, count, told, packets = wait_for(lambda: taken.read_text().split(), 30, "the segment")
    assert (user, count, int(packets)) == ("capd", told, RATE)
    assert alerting.property("OOMPolicy", "capd-exec") == "continue"
