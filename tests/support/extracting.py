"""Small capture directories for `capd extract`, and what should come out of them."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import zstandard

from capd import index as indexes
from capd import pcapng
from capd.names import SegmentName
from tests.support import judge
from tests.support.judge import Packet, assert_clean
from tests.support.sections import index_of
from tests.support.traffic import START, head, packet_block

CAPD = Path(sys.executable).with_name("capd")
MS = 10**6
SECTION = 20_000
EACH = 200  # packets of a segment
GAP = MS  # ns between two packets of a ring
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")


def frame(number: int, tag: int | None = None) -> bytes:
    """UDP between two of the hosts; the number is the payload."""
    source, target = HOSTS[number % 4], HOSTS[(number + 1) % 4]
    payload = struct.pack(">Q", number) + bytes(number % 200)
    ports = struct.pack(">HHHH", 1000 + number % 7, 53, 8 + len(payload), 0)
    start = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0)
    addresses = b"".join(bytes(map(int, host.split("."))) for host in (source, target))
    vlan = b"" if tag is None else struct.pack(">HH", 0x8100, tag)
    return bytes(12) + vlan + b"\x08\x00" + start + addresses + ports + payload


def put(folder: Path, ring: str, seq: int, packets: Sequence[tuple[int, bytes]], form: str) -> Path:
    """A segment; `form`: "raw", "bare" (no index), "zst" (without one, too) or "open"."""
    content = head(ring) + b"".join(packet_block(stamp, data) for stamp, data in packets)
    name = SegmentName(ring, min(stamp for stamp, _ in packets), seq)
    dated = folder / ring / name.folder
    dated.mkdir(parents=True, exist_ok=True)
    if form == "open":
        path = folder / ring / f"{seq:010d}.pcapng.part"
        path.write_bytes(content + pcapng.padding(-len(content) % 4096 + 4096))
        return path
    path = dated / name.file
    if form == "zst":
        path = path.with_name(f"{path.name}.zst")
        path.write_bytes(zstandard.compress(content))
        return path
    path.write_bytes(content)
    if form == "raw":
        path.with_name(f"{path.name}.idx").write_bytes(indexes.encode(index_of(content, SECTION)))
    return path


def stream(ring: int, first: int, tag: int | None = None) -> list[tuple[int, bytes]]:
    """EACH packets; but for the first, two rings' stamps lie between each other's."""
    return [
        (START + number * GAP + (ring * GAP // 2 if number else 0), frame(2 * number + ring, tag))
        for number in range(first, first + EACH)
    ]


def make(tmp_path: Path) -> Path:
    """Two rings, each of four segments in as many states."""
    folder = tmp_path / "captures"
    for ring, name in enumerate(("v0", "w0")):
        for seq, form in enumerate(("raw", "bare", "zst", "open")):
            put(folder, name, seq + 1, stream(ring, seq * EACH), form)
    config(folder)
    return folder


def config(folder: Path) -> None:
    (folder.parent / "capd.toml").write_text(
        f'[storage]\ndirectory = "{folder}"\n[[interface]]\nname = "v0"\n'
    )


def run(
    captures: Path, *words: str, until: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    argv = [str(CAPD), "extract", "--config", str(captures.parent / "capd.toml")]
    argv += ["--since", at(START)] if "--since" not in words else []
    argv += ["--until", at(START + 10**10 if until is None else until)]
    return subprocess.run([*argv, *words], capture_output=True, check=False, timeout=60)


def at(stamp: int) -> str:
    return f"@{stamp // 10**9}.{stamp % 10**9:09}"


def extracted(captures: Path, *words: str, until: int | None = None) -> list[Packet]:
    """What is given, which was all there is to give."""
    made = captures.parent / "out.pcapng"
    done = run(captures, "-o", str(made), *words, until=until)
    assert done.returncode == 0, done.stderr.decode()
    assert b"\ncomplete\n" in done.stderr
    assert_clean(made)
    return list(judge.packets(made))


def expected(rings: Iterable[int] = (0, 1)) -> list[tuple[int, bytes]]:
    every = (each for ring in rings for seq in range(4) for each in stream(ring, seq * EACH))
    return sorted(every, key=lambda packet: packet[0])


def plain(packets: Iterable[Packet]) -> list[tuple[int, bytes]]:
    return [(packet.time, packet.data) for packet in packets]
