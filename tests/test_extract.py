"""`capd extract` over files: what comes out, and in which order."""

from __future__ import annotations

import itertools
import struct
import subprocess
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.extracting import (
    EACH,
    MS,
    at,
    config,
    expected,
    extracted,
    make,
    plain,
    put,
    run,
    stream,
)
from tests.support.judge import assert_clean
from tests.support.traffic import START


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Two rings, each of four segments in as many states."""
    return make(tmp_path)


def test_everything(captures: Path) -> None:
    """Out of raw, compressed and open segments, with an index and without: once, by time."""
    assert plain(extracted(captures)) == expected()


def test_rings_that_end_with_an_index(tmp_path: Path) -> None:
    """Of the last section of each nothing more may come: none waits for the other."""
    for ring, name in enumerate(("v0", "w0", "x0")):
        put(tmp_path / "captures", name, 1, stream(ring % 2, 0), "raw")
    config(tmp_path / "captures")
    assert len(extracted(tmp_path / "captures")) == 3 * EACH


def test_a_range_and_a_filter(captures: Path) -> None:
    """Both ends to the nanosecond, across segments."""
    since, until = START + 150 * MS, START + 650 * MS
    words = ("--since", at(since), "host", "10.0.0.1", "and", "src", "port", "1003")
    wanted = [
        (stamp, data)
        for stamp, data in expected()
        if since <= stamp < until
        and b"\x0a\x00\x00\x01" in (data[26:30], data[30:34])
        and data[34:36] == struct.pack(">H", 1003)
    ]
    assert len(wanted) > 50
    assert plain(extracted(captures, *words, until=until)) == wanted


def test_one_interface(captures: Path) -> None:
    assert plain(extracted(captures, "--interface", "w0")) == expected([1])


@pytest.mark.fault(25)
def test_without_indexes(captures: Path) -> None:
    """The same bytes when all indexes are gone."""
    words = ("udp", "src", "port", "1001")
    before = extracted(captures, *words)
    for path in captures.rglob("*.idx"):
        path.unlink()
    assert extracted(captures, *words) == before


def test_cut_and_limited(captures: Path) -> None:
    """--snaplen keeps true lengths; --limit ends it, and says so."""
    made = captures.parent / "out.pcapng"
    done = run(captures, "-o", str(made), "--snaplen", "50", "--limit", "7")
    assert done.returncode == 3
    assert b"the limit of 7 packets is reached" in done.stderr
    assert_clean(made)
    cut = [(packet.time, packet.original_length, packet.data) for packet in judge.packets(made)]
    assert cut == [(stamp, len(data), data[:50]) for stamp, data in expected()[:7]]


def test_pcap_into_a_pipe(captures: Path) -> None:
    """The other format, and no file."""
    done = run(captures, "--format", "pcap", "dst", "host", "10.0.0.2")
    assert done.returncode == 0, done.stderr
    read = subprocess.run(
        ["tcpdump", "-nr", "-", "--count"], input=done.stdout, capture_output=True, check=True
    )
    assert read.stdout.startswith(b"400 packets")


def test_the_file_says_what_it_is(captures: Path) -> None:
    """capinfos shows both interfaces, and what was asked."""
    made = captures.parent / "out.pcapng"
    run(captures, "-o", str(made), "udp")
    shown = subprocess.run(["capinfos", str(made)], capture_output=True, text=True, check=True)
    assert "Number of interfaces in file: 2" in shown.stdout
    assert "Name = w0" in shown.stdout
    assert "asked for 2025-07-21" in shown.stdout
    assert "filter: udp" in shown.stdout


@pytest.mark.fault(6)
def test_tags_are_stripped_for_the_filter(tmp_path: Path) -> None:
    """Terms see the frame without its outer tag, `vlan` that tag: as on the live link."""
    captures = tmp_path / "captures"
    config(captures)
    tagged = stream(0, 0, tag=5) + [(stamp, data) for stamp, data in stream(0, EACH, tag=0x6007)]
    put(captures, "v0", 1, tagged, "raw")
    for words, count in (
        (("host", "10.0.0.1"), EACH),
        (("vlan",), 2 * EACH),
        (("vlan", "5"), EACH),
        (("vlan", "7", "and", "dst", "port", "53"), EACH),
        (("udp", "port", "53", "and", "vlan", "5"), EACH),
        (("not", "vlan"), 0),
        (("ether", "proto", "0x8100"), 0),
    ):
        assert len(extracted(captures, *words)) == count, words


@pytest.mark.fault(16)
def test_out_of_order(tmp_path: Path) -> None:
    """What is late by less than the window is put right, across sections; the rest is told."""
    captures = tmp_path / "captures"
    config(captures)
    packets = stream(0, 0)
    late = packets[:150] + packets[170:] + packets[150:170]
    put(captures, "v0", 1, late, "raw")
    assert plain(extracted(captures)) == packets
    since, until = packets[160][0], packets[180][0]
    assert plain(extracted(captures, "--since", at(since), until=until)) == packets[160:180]
    far = captures.with_name("far")
    put(far, "v0", 1, [*packets[1:], packets[0]], "raw")
    (tmp_path / "capd.toml").write_text(
        (tmp_path / "capd.toml").read_text().replace("captures", "far")
    )
    made = tmp_path / "far.pcapng"
    done = run(far, "-o", str(made))
    assert done.returncode == 3
    assert b"1 packets were recorded more than 100 ms out of order, and stay so" in done.stderr
    kept = plain(judge.packets(made))
    assert [each for each in kept if each != packets[0]] == packets[1:]
    assert kept.index(packets[0]) == EACH - 101


@pytest.mark.fault(15)
def test_a_clock_that_stepped(tmp_path: Path) -> None:
    """An hour back between two segments, then two ahead: each range has all that is in it."""
    captures = tmp_path / "captures"
    config(captures)
    steps = (0, -3600 * 1000 * MS, 3600 * 1000 * MS)
    made = [[(stamp + step, data) for stamp, data in stream(0, 0)] for step in steps]
    for seq, packets in enumerate(made, 1):
        put(captures, "v0", seq, packets, "raw")
    for packets in made:
        since, until = packets[0][0], packets[-1][0] + 1
        assert plain(extracted(captures, "--since", at(since), until=until)) == packets
    whole = tmp_path / "whole.pcapng"
    since, until = made[1][0][0], made[2][-1][0] + 1
    done = run(captures, "--since", at(since), "-o", str(whole), until=until)
    assert done.returncode == 3  # of a range over a step it is said that its order is not by time
    assert b"packets were recorded more than 100 ms out of order, and stay so" in done.stderr
    assert sorted(plain(judge.packets(whole))) == sorted(itertools.chain(*made))
