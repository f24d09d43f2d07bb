"""Filters mean one thing: to the kernel, to `capd extract`, and to `tcpdump -r`."""

from __future__ import annotations

import json
import struct
import subprocess
from collections import ChainMap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import mixed
from tests.support.corpus import COMPRESSED, RAW, Corpus, recorded
from tests.support.filters import FILTERS, asks_for_a_tag, asks_for_direction
from tests.support.judge import Packet
from tests.support.need import need, need_namespaces
from tests.support.net import Namespace
from tests.support.statistics import blocks
from tests.support.words import Words

_PROCESSES = 2
_PACKET = 6  # an Enhanced Packet Block
_FILE, _RECORD = struct.Struct("<IHHiIII"), struct.Struct("<IIII")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """What capd recorded of mixed traffic, and what the kernel took for each filter."""
    need_namespaces()
    with Namespace() as namespace, recorded(namespace, tmp_path_factory.mktemp("c"), FILTERS) as it:
        yield it


def test_filters_and_traffic_are_worth_it(corpus: Corpus) -> None:
    """Nearly every filter takes some of the frames and leaves others."""
    assert len(FILTERS) >= 300
    assert corpus.taken[""] == corpus.sent
    idle = [text for text in FILTERS if len(corpus.taken[text]) in {0, len(corpus.sent)}]
    assert len(idle) < len(FILTERS) / 25, idle


@pytest.mark.fault(6)
def test_a_tag_is_asked_for_in_any_place(corpus: Corpus) -> None:
    """Here nobody's compiler says what a filter means."""
    beside = [frame for frame in corpus.sent if mixed.is_tagged(frame)]
    left = [frame for frame in corpus.sent if frame[12:14] == b"\x91\x00"]  # for the kernel no tag
    five = {frame for frame in beside + left if frame[14:16].hex()[1:] == "005"}
    ip = {frame for frame in five if frame[16:18] == b"\x08\x00"}
    assert corpus.taken["vlan 5"] == [frame for frame in corpus.sent if frame in five]
    assert corpus.taken["vlan 5 and ip"] == [frame for frame in corpus.sent if frame in ip]
    assert corpus.taken["ip and vlan 5"] == [frame for frame in beside if frame in ip]
    arp = {*corpus.taken["arp"], *(frame for frame in left if frame[16:18] == b"\x08\x06")}
    assert corpus.taken["arp or (vlan and arp)"] == [frame for frame in corpus.sent if frame in arp]


@pytest.mark.fault(6)
def test_tcpdump_takes_the_same(corpus: Corpus, tmp_path: Path) -> None:
    """Of what has no tag that the kernel takes off."""
    need("tcpdump")
    path = tmp_path / "untagged.pcap"
    frames = [frame for frame in corpus.sent if not mixed.is_tagged(frame)]
    path.write_bytes(b"".join((_FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, 2**18, 1), *_records(frames))))
    different = {}
    for text in FILTERS:
        if asks_for_direction(text):
            continue
        taken = [frame for frame in corpus.taken[text] if not mixed.is_tagged(frame)]
        said = _tcpdump(path, text)
        if said != taken:
            different[text] = said, taken
    assert not different


@pytest.mark.fault(6)
def test_extract_gives_the_same(corpus: Corpus, tmp_path: Path) -> None:
    """In order; from compressed, raw and open segments, also without indexes, and by sketches."""
    assert len(corpus.indices()) >= COMPRESSED + RAW
    bare = corpus.without_indices(tmp_path / "bare")
    small = corpus.in_small_sections(tmp_path / "small")
    ways = {"recorded": corpus.config, "bare": bare, "small": small}

    def all_of_it(number: int) -> dict[str, dict[str, Extracted]]:
        texts = FILTERS[number::_PROCESSES]
        with Words(corpus.runtime, texts) as words:
            return {
                text: {
                    way: _extracted(words, config, corpus, tmp_path / f"{number}", text)
                    for way, config in ways.items()
                }
                for text in texts
            }

    with ThreadPoolExecutor(_PROCESSES) as pool:
        made = dict(ChainMap(*pool.map(all_of_it, range(_PROCESSES))))
    different = {}
    for text, by_way in made.items():
        found, *others = (each.packets for each in by_way.values())
        if [packet.data for packet in found] != corpus.taken[text] or others != [found] * 2:
            different[text] = {way: len(each.packets) for way, each in by_way.items()}
    assert not different
    spared = [text for text, by_way in made.items() if _share(by_way) < 1 / 2]
    assert len(spared) > len(FILTERS) / 10, len(spared)  # there, sketches decided


class Extracted(NamedTuple):
    """What came of an extraction."""

    packets: list[Packet]
    looked_at: int  # packets


def _share(by_way: dict[str, Extracted]) -> float:
    """What small sections leave of the packets to be looked at."""
    return by_way["small"].looked_at / by_way["bare"].looked_at


def _extracted(words: Words, config: Path, corpus: Corpus, path: Path, text: str) -> Extracted:
    span = ("--since", f"@{_seconds(corpus.since)}", "--until", f"@{_seconds(corpus.until)}")
    given = ("--config", str(config), *span, "-o", str(path), "--json", "--", text)
    said = words.say("extract", *given)
    assert said.code == 0, (text, said.errors)
    packets = []
    for kind, body in blocks(path.read_bytes()):
        if kind == _PACKET:
            _, high, low, captured, original = struct.unpack_from("<5I", body)
            packets.append(Packet(high << 32 | low, original, body[20 : 20 + captured]))
    path.unlink()
    return Extracted(packets, json.loads(said.errors)["looked_at"])


def _seconds(moment: int) -> str:
    return f"{moment // 10**9}.{moment % 10**9:09d}"


def _records(frames: list[bytes]) -> Iterator[bytes]:
    for number, frame in enumerate(frames):
        yield _RECORD.pack(number, 0, len(frame), len(frame)) + frame


def _tcpdump(path: Path, text: str) -> list[bytes]:
    argv = ["tcpdump", "-r", str(path), "-w", "-", "--", text]
    done = subprocess.run(argv, capture_output=True, check=False)
    if b"expression rejects all packets" in done.stderr:  # its tag cannot be in the header
        assert asks_for_a_tag(text), text
        return []
    assert done.returncode == 0, done.stderr
    content, at, frames = done.stdout, _FILE.size, []
    while at < len(content):
        start = at + _RECORD.size
        at = start + _RECORD.unpack_from(content, at)[2]
        frames.append(content[start:at])
    return frames
