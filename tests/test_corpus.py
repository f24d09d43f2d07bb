"""Filters mean one thing: to the kernel, to `capd extract`, and to `tcpdump -r`."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from capd import cli
from tests.support import mixed
from tests.support.corpus import Corpus, recorded
from tests.support.filters import FILTERS, asks_for_a_tag, asks_for_direction
from tests.support.need import need, need_namespaces
from tests.support.net import Namespace

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
    return list(_frames(done.stdout))


def _frames(content: bytes) -> Iterator[bytes]:
    """Those of a pcap file."""
    at = _FILE.size
    while at < len(content):
        start = at + _RECORD.size
        at = start + _RECORD.unpack_from(content, at)[2]
        yield content[start:at]


def test_extraction_takes_the_same(corpus: Corpus, tmp_path: Path) -> None:
    """What the kernel took on the live link comes out of segments in all states, in order."""
    with_indexes = _extracted(corpus, tmp_path, FILTERS)
    assert {text: got for text, got in with_indexes.items() if got != corpus.taken[text]} == {}
    for path in corpus.indices():
        path.rename(path.with_suffix(".away"))
    try:
        some = FILTERS[::3]
        without = _extracted(corpus, tmp_path, some)
    finally:
        for path in corpus.ring.glob("*/*.away"):
            path.rename(path.with_suffix(".idx"))
    assert {text: got for text, got in without.items() if got != corpus.taken[text]} == {}


def _extracted(corpus: Corpus, folder: Path, filters: Sequence[str]) -> dict[str, list[bytes]]:
    """The frames that `capd extract` gives for each filter."""
    found = {}
    path = folder / "extracted.pcap"
    argv = ["extract", "--config", str(corpus.config), "--format", "pcap", "-o", str(path)]
    argv += ["--since", _at(corpus.since), "--until", _at(corpus.until)]
    for text in filters:
        assert cli.main([*argv, "--", text]) in {0, 3}
        found[text] = list(_frames(path.read_bytes()))
    return found


def _at(stamp: int) -> str:
    return f"@{stamp // 10**9}.{stamp % 10**9:09}"
