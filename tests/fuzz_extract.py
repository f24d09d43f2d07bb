"""Extracts from damaged and hostile segments, frames and indexes; tests/support/fuzzing.py runs it.

Whatever they say, an extraction ends, and its file is one that Wireshark reads to its end.
"""

from __future__ import annotations

import random
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import zstandard

from capd.query.edge import Edge
from capd.query.extraction import Request, extract
from capd.query.matcher import Matcher
from capd.query.output import Output
from capd.query.progress import Progress
from capd.query.sources import Wanted
from tests.support.extracting import make
from tests.support.fuzzing import main
from tests.support.traffic import START

_NOTABLE = (0, 1, 3, 4, 6, 12, 28, 32, 1000, 0x0A0D0D0A, 262145, 2**24, 2**31 - 1, 2**31, 2**32 - 4)
_CHECKED = 80  # bytes of an index's head, behind which their checksum stands
_FILTERS = ("", "udp and host 10.0.0.2", "vlan 5 or ip6", "len > 100 and not port 53")


def _word(rng: random.Random) -> int:
    return rng.choice((rng.choice(_NOTABLE), rng.randrange(2**32)))


def _harmed(content: bytearray, rng: random.Random) -> bytearray:
    """Words, bytes and stretches of it are others, doubled or missing."""
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(content)) & ~3
        size = rng.choice((4, 12, 100, 5000))
        match rng.randrange(6):
            case 0 | 1 if at + 8 <= len(content):
                struct.pack_into("<I", content, at, _word(rng))
            case 2:
                content[at : at + size] = rng.randbytes(len(content[at : at + size]))
            case 3:
                content[at:at] = content[at : at + size]
            case 4:
                del content[at : at + size]
            case _ if rng.random() < 0.2:
                del content[at:]
    return content or bytearray(1)


def _harmed_index(content: bytearray, rng: random.Random) -> bytearray:
    """One that lies: its checksums are right."""
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(12, len(content) - 4) & ~3
        struct.pack_into(
            "<I", content, at, rng.choice((rng.choice(_NOTABLE), rng.randrange(2**32)))
        )
    struct.pack_into("<I", content, _CHECKED, zlib.crc32(content[:_CHECKED]))
    struct.pack_into("<I", content, len(content) - 4, zlib.crc32(content[:-4]))
    return content


def _harm(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if path.suffix == ".idx":
        harmed = _harmed_index(content, rng)
    elif path.suffix == ".zst" and rng.random() < 0.7:  # a sound frame of something hostile
        inside = _harmed(bytearray(zstandard.decompress(content)), rng)
        harmed = bytearray(zstandard.compress(inside))
    else:
        harmed = _harmed(content, rng)
    path.write_bytes(harmed)


def check(seed: int, number: int) -> None:
    """One round; an error when something else comes of it than a file and words."""
    rng = random.Random(f"{seed}:{number}")
    with tempfile.TemporaryDirectory() as folder:
        captures = make(Path(folder))
        files = sorted(path for path in captures.rglob("*") if path.is_file())
        for path in rng.sample(files, rng.randrange(1, 4)):
            _harm(path, rng)
        made = Path(folder) / "out.pcapng"
        wanted = Wanted((str(captures),), START, START + rng.choice((10**8, 10**10)))
        text = rng.choice(_FILTERS)
        matcher = Matcher(text, wanted.since, wanted.until)
        output = Output(str(made), "pcapng", rng.choice((262144, 60)))
        output.begin("what was asked")
        edge = Edge(f"{folder}/no-status", str(captures), wanted.until)
        with Progress() as progress:
            result = extract(
                Request(wanted, text), matcher, output, progress, rng.choice((None, edge))
            )
        output.finish("what was given", START)
        output.close()
        judged = subprocess.run(
            ["capinfos", "-Mc", str(made)], capture_output=True, text=True, check=False
        )
        assert judged.returncode == 0, judged.stderr
        assert f"{result.packets}\n" in judged.stdout, (result, judged.stdout)


if __name__ == "__main__":
    main(check)
