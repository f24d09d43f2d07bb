"""Segments that somebody made to do harm: `capd extract` neither crashes nor eats the memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from capd import index as indexes
from capd.pcapng import padding
from tests.support.extracting import CAPD, EACH, config, put, stream
from tests.support.need import need
from tests.support.sections import index_of
from tests.support.traffic import START, head, packet_block

pytestmark = pytest.mark.fault(48)

MIB = 2**20
SECONDS = 15
BOUND = ("prlimit", f"--as={1536 * MIB}")  # beyond what threads and libraries take
PACKET = packet_block(START, bytes(1400))


def extract(captures: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Everything, with little memory to have, to nobody."""
    need("prlimit")
    argv = [*BOUND, str(CAPD), "extract", "--config", str(captures.parent / "capd.toml")]
    return subprocess.run(
        [*argv, "--since", "@0", "--until", "now", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )


def compressed(pieces: Iterator[bytes]) -> bytes:
    """One frame of all that, which need not be in memory."""
    made = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join([*(made.compress(piece) for piece in pieces), made.flush()])


def bomb(captures: Path, pieces: Iterator[bytes]) -> Path:
    """A compressed segment of that, whatever it is."""
    path = put(captures, "v0", 1, stream(0, 0), "zst")
    path.write_bytes(compressed(pieces))
    config(captures)
    return path


@pytest.mark.security("segments")
def test_whatever_they_say(tmp_path: Path) -> None:
    """Lengths, types, frames and indexes that lie: an answer, and a file that opens."""
    need("prlimit", "capinfos")
    trace = tmp_path / "round"
    words = ["--seconds", str(SECONDS), "--trace", str(trace)]
    done = subprocess.run(
        [*BOUND, sys.executable, "-m", "tests.fuzz_extract", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + 60,
    )
    print(done.stdout)  # how many rounds
    assert int(trace.read_text().rpartition(" ")[2]) > 20
    assert done.returncode == 0, f"{trace.read_text()}: {done.stderr[-4000:]}"


@pytest.mark.security("segments")
def test_three_gib_in_one_instant(tmp_path: Path) -> None:
    """Of few bytes when compressed; all of it might have to wait for an older packet."""
    count = 3 * 1024 * MIB // len(PACKET)
    many = 1000 * PACKET
    pieces = (head("v0") if n == 0 else many for n in range(count // 1000 + 1))
    path = bomb(tmp_path / "captures", pieces)
    assert path.stat().st_size < 8 * MIB
    done = extract(tmp_path / "captures")
    assert f"\n{count // 1000 * 1000:,} packets out of 1 segments" in done.stderr
    assert done.returncode in (0, 3)


@pytest.mark.security("segments")
def test_gigabytes_of_nothing(tmp_path: Path) -> None:
    """Padding, and what is no block at all."""
    for filling, trouble in ((padding(MIB), False), (bytes(MIB), True)):
        pieces = (head("v0") if n == 0 else filling for n in range(3000))
        bomb(tmp_path / "captures", pieces)
        done = extract(tmp_path / "captures")
        assert "\n0 packets out of 1 segments" in done.stderr, done.stderr
        assert ("the rest is not searched" in done.stderr) == trouble


@pytest.mark.security("segments")
def test_an_index_of_giants(tmp_path: Path) -> None:
    """Sections of which each needs all the memory there is."""
    captures = tmp_path / "captures"
    path = put(captures, "v0", 1, stream(0, 0), "zst")
    config(captures)
    index = index_of(zstandard.decompress(path.read_bytes()), 2**30)
    (section,) = index.sections
    giants = tuple(
        section._replace(
            raw_offset=n * 2**30, raw_length=2**30, stored_offset=9 + 8 * n, stored_length=8
        )
        for n in range(8)
    )
    lying = index._replace(
        stored_size=path.stat().st_size, raw_size=len(giants) * 2**30, sections=giants
    )
    path.with_name(f"{path.name}.idx").write_bytes(indexes.encode(lying))
    done = extract(captures)
    assert f"\n{EACH} packets out of 1 segments" in done.stderr
