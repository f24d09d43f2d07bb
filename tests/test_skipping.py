"""`capd extract` does not read sections in which, by their sketches, nothing wanted can be.

Here every byte of the segments is overwritten behind their indexes: who reads, notices.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from capd import index as indexes
from tests.support.compressing import compress_file
from tests.support.extracting import EACH, GAP, config, frame, put, run
from tests.support.traffic import START

_LARGE = 2 * 2**20  # bytes: several sections of a compressed segment
_RARE = bytes((10, 7, 7, 7))
_ABSENT = (
    *("host 10.99.0.1", "net 10.99.0.0/16", "tcp port 443", "udp port 443", "arp"),
    *("host 10.99.0.1 and (port 80 or tcp[13] & 2 != 0)", "ip6 host 2001:db8::1"),
    *("vlan and host 10.99.0.1", "vlan 5 and port 443", "host 10.99.0.1 and inbound"),
)


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw segment, and a compressed one whose frames have a tag; a rare host once in each."""
    folder = tmp_path_factory.mktemp("c") / "captures"
    config(folder)
    paths = [_put(folder, 1, 3 * EACH, None)]
    raw = _put(folder, 2, _LARGE // 150, 5)
    paths.append(raw.with_name(f"{raw.name}.zst"))
    made = compress_file(raw, paths[1], 3, 0)
    paths[1].with_name(f"{paths[1].name}.idx").write_bytes(indexes.encode(made.contents))
    raw.unlink()
    raw.with_name(f"{raw.name}.idx").unlink()
    for path in paths:
        path.write_bytes(bytes(path.stat().st_size))
    return folder


def _put(folder: Path, seq: int, count: int, tag: int | None) -> Path:
    frames = [frame(number, tag) for number in range(count)]
    at = frames[count // 2].index(b"\x45") + 12
    frames[count // 2] = frames[count // 2][:at] + _RARE + frames[count // 2][at + 4 :]
    begin = START + (seq - 1) * 10**9
    packets = [(begin + number * GAP // 100, data) for number, data in enumerate(frames)]
    return put(folder, "v0", seq, packets, "raw")


def _told(captures: Path, text: str) -> dict[str, Any]:
    done = run(captures, "-o", str(captures.parent / "out.pcapng"), "--json", "--", text)
    told: dict[str, Any] = json.loads(done.stderr)
    assert (done.returncode == 0) == told["complete"]
    return told


@pytest.mark.parametrize("text", _ABSENT)
def test_nothing_is_read(captures: Path, text: str) -> None:
    """The indexes are enough for an answer; the file has its interface all the same."""
    told = _told(captures, text)
    assert (told["incomplete"], told["segments"], told["looked_at"]) == ([], 2, 0)
    argv = ["capinfos", str(captures.parent / "out.pcapng")]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "Name = v0" in shown


@pytest.mark.parametrize("text", ["host 10.7.7.7", "src net 10.7.0.0/16 and not tcp", "vlan", ""])
def test_what_may_match_is_read(captures: Path, text: str) -> None:
    """One section for a host that is in one; all for what is everywhere."""
    troubles = _told(captures, text)["troubles"]
    every = [len(_index(path).sections) for path in sorted(captures.rglob("*.idx"))]
    assert min(every) > 2
    counts = [sum(f"{seq:010d}.pcapng" in trouble for trouble in troubles) for seq in (1, 2)]
    assert counts == {"vlan": [0, every[1]], "": every}.get(text, [1, 1])


def _index(path: Path) -> indexes.Index:
    return indexes.decode(path.read_bytes())
