"""What sketches spare: a filter that matches nothing, over an archive that cannot be read.

    .venv/bin/python -m tests.bench.skipping [--gib N] [FILTER...]

The archive's data are holes and its indexes are whole, of sections of 4 MiB, so all that is
measured is `capd extract` from its start to its end: it fails if it has to look into a section.
Every section has a sketch nearly as large as one gets, of 5,000 packets between 10,000
addresses.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from capd import index as indexes
from capd.index import Index, Section
from capd.names import SegmentName
from capd.survey import survey
from tests.support.traffic import START, head, packet_block

SECTION, SECTIONS = 4 * 2**20, 64  # bytes; of a segment
PACKETS = 5000  # of a section
ROUNDS = 5
ABSENT = ("host 10.99.0.1", "host 10.99.0.1 and (port 80 or tcp[13] & 2 != 0)")
CAPD = Path(sys.executable).with_name("capd")


def main() -> None:
    """Make it, extract, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=int, default=20)
    parser.add_argument("filter", nargs="*", metavar="FILTER")
    options = parser.parse_args()
    count = options.gib * 2**30 // (SECTION * SECTIONS)
    with tempfile.TemporaryDirectory(prefix="capd-bench-") as directory:
        fill(Path(directory), count)
        for text in options.filter or ABSENT:
            took = statistics.median(extracted(Path(directory), text) for _ in range(ROUNDS))
            speed = count * SECTIONS * SECTION / 2**30 / took
            print(f"{took:6.2f} s  {speed:6.1f} GiB/s  {text}")


def fill(folder: Path, count: int) -> None:
    """So many segments, and a config."""
    config = f'[storage]\ndirectory = "{folder}/c"\n[[interface]]\nname = "v0"\n'
    (folder / "capd.toml").write_text(config)
    sketch = sketched()
    for seq in range(count):
        name = SegmentName("v0", START + seq * 10**9, seq + 1)
        path = folder / "c" / "v0" / name.folder / name.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, SECTION * SECTIONS)
        index = Index(SECTION * SECTIONS, SECTION * SECTIONS, 1, sections(name.stamp, sketch))
        path.with_name(f"{path.name}.idx").write_bytes(indexes.encode(index))


def sections(begin: int, sketch: bytes) -> tuple[Section, ...]:
    """Of one segment."""
    return tuple(
        Section(
            *(number * SECTION, SECTION) * 2,
            *(begin + number, begin + number, PACKETS, 0, begin, 0),
            sketch=sketch,
        )
        for number in range(SECTIONS)
    )


def sketched() -> bytes:
    """The sketch of a section."""
    rng = random.Random(1)
    blocks = [head("v0")]
    for _ in range(PACKETS):
        start = struct.pack(">BBHHHBBH", 0x45, 0, 800, 0, 0, 64, 6, 0)
        source, target = (bytes((10, rng.randrange(4), *rng.randbytes(2))) for _ in range(2))
        ports = struct.pack(">HH", rng.randrange(1024, 65536), 443)
        blocks.append(
            packet_block(START, bytes(12) + b"\x08\x00" + start + source + target + ports)
        )
    content = b"".join(blocks)
    return survey(content, 0, len(content), sketch=True).sketch


def extracted(folder: Path, text: str) -> float:
    """How long it takes, in seconds."""
    argv = [str(CAPD), "extract", "--config", f"{folder}/capd.toml", "--since", "@1", "--json"]
    began = time.monotonic()
    done = subprocess.run([*argv, "-o", "/dev/null", "--", text], capture_output=True, check=False)
    took = time.monotonic() - began
    told = json.loads(done.stderr)
    if told["looked_at"] or told["troubles"]:
        sys.exit(f"{text!r}: sections were looked into: {told['troubles'][:3]}")
    return took


if __name__ == "__main__":
    main()
