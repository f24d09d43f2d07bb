"""What `capd extract` says is missing of its answer, and that it says nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from capd.ledger import RECORDS
from capd.losses import NOT_CAPTURED, Loss, describe, encode
from capd.names import LEDGER_FOLDER
from capd.query.searches import WINDOW
from capd.units import SECOND, format_time
from tests.support.beside import Daemon, lacking
from tests.support.extracting import EACH, GAP, at, config, frame, make, put, run, stream
from tests.support.laying import capd
from tests.support.need import need
from tests.support.traffic import START


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """It has recorded v0 for an hour."""
    return Daemon(tmp_path)


def packets(*ages: int) -> Sequence[tuple[int, bytes]]:
    """One for each of so many seconds ago."""
    now = time.time_ns()
    return [(now - age * SECOND, frame(number)) for number, age in enumerate(ages)]


def lacking_of(captures: Path, *words: str) -> list[str]:
    """The same, of what nobody records any more."""
    done = run(captures, "-o", "/dev/null", *words)
    return lacking(done.returncode, done.stderr.decode())


def test_an_interface_that_nobody_recorded(tmp_path: Path) -> None:
    """A typo is no complete answer, and is told once; what is to come is none."""
    captures = make(tmp_path)
    with (tmp_path / "capd.toml").open("a") as file:
        file.write('[[interface]]\nname = "x0"\n')
    named = [word for name in ("vo0", "w0", "x0") for word in ("--interface", name)]
    assert lacking_of(captures, *named) == [
        "vo0: nothing of that name is known; there is v0, w0, x0",
        "x0: no segment is there",
    ]


def test_a_directory_in_which_nothing_is(tmp_path: Path) -> None:
    """It may be the wrong one."""
    captures = tmp_path / "captures"
    captures.mkdir()
    config(captures)
    assert lacking_of(captures) == [f"no segment is in {captures}"]


def test_an_open_segment_is_where_a_ring_begins(tmp_path: Path) -> None:
    """Of what comes before its first packet nothing is known."""
    captures = tmp_path / "captures"
    config(captures)
    put(captures, "v0", 1, stream(0, 0), "open")
    assert lacking_of(captures) == []
    before = lacking_of(captures, "--since", at(START - 1000 * SECOND))
    assert before == [f"v0: nothing is kept from before {format_time(START)}"]


def test_a_clock_that_was_not_set_yet(tmp_path: Path) -> None:
    """A segment of 1970 that is kept does not mean that all since then is."""
    captures = tmp_path / "captures"
    config(captures)
    put(captures, "v0", 2, [(stamp - START + SECOND, data) for stamp, data in stream(0, 0)], "raw")
    put(captures, "v0", 3, stream(0, 0), "raw")
    told = [f"v0: nothing is kept from before {format_time(START)}"]
    assert lacking_of(captures, "--since", at(START - 1000 * SECOND)) == told
    assert lacking_of(captures, "--since", at(SECOND)) == []
    assert lacking_of(captures) == []


def test_what_a_ring_is_known_to_have_had_from_its_beginning_on(daemon: Daemon) -> None:
    """A quiet link: what was recorded all the time and gave nothing is no hole."""
    assert daemon.lacking("--since", "30m", "--until", "1m", "--interface", "v0") == []
    put(daemon.captures, "v0", 1, packets(900, 800), "open")
    assert daemon.lacking("--since", "30m", "--until", "1m") == []
    (told,) = daemon.lacking("--since", "2h", "--until", "1m")
    assert told == f"v0: nothing is kept from before {format_time(daemon.ring.since)}"
    (daemon.captures / "v0" / "0000000001.pcapng.part").unlink()
    put(daemon.captures, "v0", 2, packets(900, 800), "open")  # the first was deleted
    (told,) = daemon.lacking("--since", "30m", "--until", "1m")
    assert told.startswith("v0: nothing is kept from before ")


@pytest.mark.parametrize("trouble", ["disk", "worker", "daemon"])
def test_what_a_ring_may_still_hold(daemon: Daemon, trouble: str) -> None:
    """A disk that refuses, a worker that hangs, or that was not heard of yet."""
    given = packets(100, 90)
    put(daemon.captures, "v0", 1, given, "open")
    if trouble == "disk":
        daemon.status.rings[0] = replace(daemon.ring, filled=0.2)
    else:
        daemon.heard_at = time.time_ns() - 300 * SECOND if trouble == "worker" else 1
    known = given[-1][0] - WINDOW
    told = f"v0: packets from {format_time(known)} on may still be in the ring"
    assert daemon.lacking("--since", at(given[0][0])) == [told]
    assert daemon.lacking("--since", at(given[0][0]), "--until", at(known)) == []


def test_a_ring_that_held_something_for_a_moment(daemon: Daemon) -> None:
    """It has it no more a second later: then all is here, however long ago the range ended."""
    given = packets(100, 90)
    put(daemon.captures, "v0", 1, given, "open")
    daemon.status.rings[0] = replace(daemon.ring, filled=0.2)
    daemon.drains_at = time.monotonic() + 2
    assert daemon.lacking("--since", at(given[0][0]), "--until", "1m") == []


def test_a_loss_that_is_not_in_the_ledger_yet(daemon: Daemon) -> None:
    """A record is made once a minute at most, and waits if the disk refuses it."""
    put(daemon.captures, "v0", 1, packets(7300, 7000), "raw")
    since = time.time_ns() - 2700 * SECOND
    record = Loss("v0", "ring", since, since + SECOND, 5, "it was full")
    later = replace(record, since=since + 9 * SECOND, until=since + 10 * SECOND, packets=7)
    ledger = daemon.captures / LEDGER_FOLDER
    ledger.mkdir()
    words = ("--since", "2h", "--until", "30m")
    daemon.status = replace(daemon.status, losses=[record], untold=[later])
    for written in ("", f"{encode(record)}\n"):
        (ledger / RECORDS).write_text(written)
        told = daemon.lacking(*words)
        assert told == [f"v0: {describe(record)}", f"v0: {describe(later)}"]
    assert daemon.lacking("--since", "2h", "--until", "1h") == []
    assert daemon.lacking(*words, "--interface", "v0") == told
    other = replace(daemon.ring, directory="/elsewhere")
    daemon.status = replace(daemon.status, rings=[other], disk=None)
    assert f"v0: {describe(later)}" not in daemon.lacking(*words)


@pytest.mark.parametrize("verb", ["extract", "losses"])
def test_a_gap_that_still_lasts(daemon: Daemon, verb: str) -> None:
    """It is in no ledger yet, and concerns what was asked for if it began before that ended."""
    put(daemon.captures, "v0", 1, packets(7300, 7000), "raw")
    since = time.time_ns() - 2700 * SECOND
    rest = f"since {format_time(since)}; the gap is put on record when it ends"
    down, status = f"v0: the link is down {rest}", daemon.status
    daemon.status = replace(status, rings=[replace(daemon.ring, link="down")], out={"v0": since})
    assert daemon.gaps(verb, "--since", "2h", "--until", "30m") == [down]
    assert daemon.gaps(verb, "--since", "2h", "--until", "1h") == []
    daemon.status = replace(status, rings=[], out={"v0": since}, waiting={"v0": "there is none"})
    gone = f"v0: no packets {rest.replace(';', ': there is none;')}"
    assert daemon.gaps(verb, "--since", "2h", "--until", "30m") == [gone]
    assert daemon.gaps(verb, "--since", "2h", "--until", "1h") == []


def test_a_gap_of_what_was_not_asked_for(daemon: Daemon) -> None:
    """Another interface's, or that of an entry that may never be there, is no lack."""
    put(daemon.captures, "v0", 1, packets(7300, 7000), "raw")
    down = replace(daemon.ring, ring="w0", interface="w0", link="down")
    daemon.status = replace(
        daemon.status,
        rings=[daemon.ring, down],
        out={"w0": 1, "veth7": 1},
        waiting={"x0": "there is none"},
        refused={"y0": "its name cannot be printed"},
        started_at=time.time_ns() - 2700 * SECOND,
    )
    words = ("--since", "2h", "--until", "30m")
    assert daemon.gaps("extract", *words, "--interface", "v0") == []
    before, told = daemon.gaps("extract", *words)
    assert before == f"w0: nothing is kept from before {format_time(down.since)}"
    assert told.startswith("w0: the link is down since 1970-01-01")
    named = [word for name in ("x0", "y0") for word in ("--interface", name)]
    assert daemon.gaps("losses", *words, *named) == [
        "x0: it is not captured: there is none",
        "y0: it is not captured: its name cannot be printed",
    ]
    assert daemon.gaps("losses", "--since", "2h", "--until", "1h", *named) == []


def test_a_daemon_that_starts(daemon: Daemon) -> None:
    """It has not looked at the links yet."""
    put(daemon.captures, "v0", 1, packets(7300, 7000), "raw")
    daemon.status = replace(daemon.status, state="starting", rings=[])
    assert daemon.lacking("--since", "2h", "--until", "1h") == []
    assert daemon.lacking("--since", "2h") == [
        "what is missed at present is not known: capd is starting"
    ]
    part = put(daemon.captures, "v0", 2, packets(6900, 6800), "open")
    left = time.time_ns() - 5400 * SECOND
    os.utime(part, ns=(left, left))
    rest = f"v0: not recorded from {format_time(left)} on, as far as is known"
    assert daemon.lacking("--since", "2h", "--until", "1h") == [rest]
    assert daemon.lacking("--since", "2h", "--until", "100m") == []


def test_a_daemon_that_was_killed(daemon: Daemon) -> None:
    """A range after its last word is no quiet hour, whether it ended or goes on."""
    put(daemon.captures, "v0", 1, packets(7300, 7000), "raw")
    died = time.time_ns() - 3600 * SECOND
    daemon.dies_at = died
    rest = f"recorded from {format_time(died)} on, as far as is known"
    assert daemon.lacking("--since", "2h", "--until", "70m") == []
    assert daemon.lacking("--since", "2h", "--until", "30m") == [f"v0: not {rest}"]
    assert daemon.lacking("--since", "50m", "--until", "30m") == [f"nothing was {rest}"]
    named = daemon.lacking("--since", "50m", "--until", "30m", "--interface", "v0")
    assert named == [f"v0: not {rest}"]


def segments(captures: Path, *numbers: int, form: str = "raw") -> None:
    """These of one stream that is cut into segments."""
    captures.mkdir(exist_ok=True)
    config(captures)
    for number in numbers:
        put(captures, "v0", number, stream(0, (number - 1) * EACH), form)


def test_what_is_deleted_before_it_is_opened(tmp_path: Path) -> None:
    """By retention, which takes the oldest while a long list is opened: of no concern if older."""
    need("strace")
    captures = tmp_path / "captures"
    segments(captures, 1, 2, 3)
    (first,) = captures.glob("v0/*/*_0000000001.pcapng")
    begin = START + EACH * GAP  # of the second
    fails = ("-P", first.name, "-e", "inject=openat:error=ENOENT")
    prefix = ("strace", "-f", "-qq", "-o", str(tmp_path / "log"), *fails)
    for since, told in ((START, [f"{first} was deleted before it could be read"]), (begin + 1, [])):
        words = ("extract", "--since", at(since), "--until", at(START + 10**10), "-o", "/dev/null")
        done = capd(tmp_path / "capd.toml", *words, prefix=prefix)
        assert lacking(done.returncode, done.stderr) == told


@pytest.mark.parametrize("form", ["raw", "zst"])
def test_holes_in_the_middle(tmp_path: Path, form: str) -> None:
    """Whatever retention or a disk that was away has left, to the nanosecond if indexes tell."""
    captures = tmp_path / "captures"
    segments(captures, 1, 2, 6, 7, form=form)
    end = START + (2 * EACH - 1) * GAP  # the last packet before it
    begin = end if form == "raw" else START + EACH * GAP
    after = START + 5 * EACH * GAP
    hole = f"segments 3 to 5, between {format_time(begin)} and {format_time(after)}, are not there"
    assert lacking_of(captures) == [f"v0: {hole}"]
    assert lacking_of(captures, "--since", at(after + 1)) == []
    assert lacking_of(captures, "--since", at(after)) == [f"v0: {hole}"]
    done = run(captures, "-o", "/dev/null", until=begin)
    assert lacking(done.returncode, done.stderr.decode()) == []
    (captures / "v0" / "0000000004.pcapng.damaged").touch()
    told = [text[:14] for text in lacking_of(captures) if "is not there" in text]
    assert told == ["v0: segment 3,", "v0: segment 5,"]
    aside = f"{captures}/v0/0000000004.pcapng.damaged was set aside as damaged, and is not searched"
    assert aside in lacking_of(captures, "--since", at(after))
    assert lacking_of(captures, "--since", at(after + 1)) == []


def test_a_number_that_may_have_been_left_out(tmp_path: Path) -> None:
    """By a run that was cut off; where the ledger has when capd did not run, nothing is said."""
    captures = tmp_path / "captures"
    segments(captures, 1, 4, 5)
    end, until = START + (EACH - 1) * GAP, START + 2 * EACH * GAP
    done = run(captures, "-o", "/dev/null", until=until)
    (told,) = lacking(done.returncode, done.stderr.decode())
    assert told.startswith(f"v0: segments 2 to 3, between {format_time(end)} and ")
    assert told.endswith("; unless a run that was cut off left the number out, packets are missing")
    ledger = captures / LEDGER_FOLDER
    ledger.mkdir()
    for interface, missing in (("w0", [told]), ("v0", [])):
        loss = Loss(interface, "link", until, until + GAP, None, NOT_CAPTURED)
        (ledger / RECORDS).write_text(f"{encode(loss)}\n")
        done = run(captures, "-o", "/dev/null", until=until)
        assert lacking(done.returncode, done.stderr.decode()) == missing
    (fourth,) = captures.glob("v0/*/*_0000000004.pcapng")
    fourth.unlink()  # more than one run leaves out
    done = run(captures, "-o", "/dev/null", until=until)
    (told,) = lacking(done.returncode, done.stderr.decode())
    assert told.startswith("v0: segments 2 to 4, ")
