"""`capd extract` of several kinds of links: what a filter means on each, if anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capd import index as indexes
from capd import pcapng
from capd.messages import Source
from capd.names import SegmentName
from tests.support.extracting import EACH, SECTION, config, run, stream
from tests.support.sections import index_of
from tests.support.traffic import START, packet_block

ETHERNET, RAW, RADIO = 1, 101, 127
BEACON = bytes.fromhex("0000080000000000") + b"\x80\0" + bytes(22)


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """The same packets of an Ethernet and of a tunnel, and beacons; with and without indexes."""
    folder = tmp_path / "captures"
    config(folder)
    for seq in (1, 2):
        packets = stream(0, (seq - 1) * EACH)
        put(folder, "v0", seq, ETHERNET, packets)
        put(folder, "t0", seq, RAW, [(stamp, data[14:]) for stamp, data in packets])
        put(folder, "m0", seq, RADIO, [(stamp, BEACON) for stamp, _ in packets])
    return folder


def put(
    folder: Path, ring: str, seq: int, link_type: int, packets: list[tuple[int, bytes]]
) -> None:
    source = Source(ring, ring, link_type, None, "", 0, 262144, "host", record_direction=False)
    content = pcapng.header(source) + b"".join(packet_block(*packet) for packet in packets)
    name = SegmentName(ring, packets[0][0], seq)
    dated = folder / ring / name.folder
    dated.mkdir(parents=True, exist_ok=True)
    (dated / name.file).write_bytes(content)
    if seq == 1:
        index = indexes.encode(index_of(content, SECTION))
        (dated / f"{name.file}.idx").write_bytes(index)


def asked(captures: Path, text: str, *words: str) -> dict[str, Any]:
    """What came of a filter."""
    done = run(captures, "-o", "/dev/null", "--json", *words, "--", text, until=START + 10**10)
    told: dict[str, Any] = json.loads(done.stderr)
    assert done.returncode == (0 if told["complete"] else 3)
    return told


@pytest.mark.parametrize("text", ["arp", "arp or icmp6"])
def test_what_a_link_never_has(captures: Path, text: str) -> None:
    """Of a tunnel, libpcap says that such a filter rejects all: then nothing of it is missing."""
    told = asked(captures, text)
    assert (told["packets"], told["incomplete"]) == (0, [])


@pytest.mark.parametrize("text", ["host 10.0.0.1 or arp", "udp"])
def test_on_all_that_have_it(captures: Path, text: str) -> None:
    """The same packets of an Ethernet and of a tunnel."""
    told = asked(captures, text)
    counts = told["by_interface"]
    assert (counts["v0"], told["incomplete"]) == (counts["t0"], [])
    assert counts["v0"] >= EACH


def test_what_means_nothing_on_a_link(captures: Path) -> None:
    """It is told of once for each interface, however many segments and sections there are."""
    told = asked(captures, "udp or vlan")
    assert told["by_interface"]["v0"] == 2 * EACH
    (refused,) = (text for text in told["incomplete"] if text.startswith("t0: "))
    assert refused.startswith("t0: not searched: cannot use the filter 'udp or vlan': ")
    assert asked(captures, "udp or vlan", "--interface", "v0")["complete"]


def test_words_of_one_kind_alone(captures: Path) -> None:
    """Ethernet does not have them; what all kinds refuse is refused at once."""
    told = asked(captures, "type mgt subtype beacon", "--interface", "m0")
    assert (told["packets"], told["incomplete"]) == (2 * EACH, [])
    told = asked(captures, "type mgt")
    assert told["by_interface"] == {"m0": 2 * EACH, "v0": 0, "t0": 0}
    assert [text[:17] for text in told["incomplete"]] == ["t0: not searched:", "v0: not searched:"]
    for text in ("ip and arp", "ifindex 3", "not"):
        done = run(captures, "-o", "/dev/null", "--", text)
        assert done.returncode == 2
        assert b"cannot use the filter" in done.stderr
