"""`capd extract` over files: what comes out, in which order, and what is said to be missing."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import zstandard

from capd import index as indexes
from capd import pcapng
from capd.names import SegmentName
from tests.support import judge
from tests.support.command import AS_NOBODY
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


@pytest.fixture
def captures(tmp_path: Path) -> Path:
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
    return subprocess.run([*argv, *words], capture_output=True, check=False)


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


def test_everything(captures: Path) -> None:
    """Out of raw, compressed and open segments, with an index and without: once, by time."""
    assert plain(extracted(captures)) == expected()


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


def test_out_of_order(tmp_path: Path) -> None:
    """What is late by less than the window is put right, across sections; the rest is told."""
    captures = tmp_path / "captures"
    config(captures)
    packets = stream(0, 0)
    late = packets[:150] + packets[170:] + packets[150:170]
    put(captures, "v0", 1, late, "raw")
    assert plain(extracted(captures)) == packets
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


def test_damage_is_named(captures: Path) -> None:
    """What cannot be read costs no more than itself, and is told with its place."""
    (raw,) = captures.glob("v0/*/*_0000000001.pcapng")
    content = bytearray(raw.read_bytes())
    content[SECTION * 3 // 2 : SECTION * 3 // 2 + 400] = b"\xff" * 400
    raw.write_bytes(content)
    made = captures.parent / "out.pcapng"
    done = run(captures, "-o", str(made), "--json")
    assert done.returncode == 3
    told = json.loads(done.stderr)
    assert not told["complete"]
    assert any("are damaged, and not searched" in text for text in told["troubles"])
    assert_clean(made)
    assert 2 * 4 * EACH - 120 < told["packets"] < 2 * 4 * EACH


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("ifindex", "3"), "segments do not record"),
        (("host", "example.com"), "addresses only"),
        (("(" * 10_000,), "cannot use the filter"),
        (("--", "-z", "id"), "cannot use the filter"),
        (("\N{SNOWMAN}",), "has no place in a filter"),
        (("a" * 65_536,), "characters long"),
        (("not",), "syntax error"),
    ],
)
def test_hostile_filters(captures: Path, words: tuple[str, ...], problem: str) -> None:
    """Each is refused in words, and nothing is given."""
    done = run(captures, *words)
    assert done.returncode in (1, 2)
    assert problem in done.stderr.decode()
    assert done.stdout == b""


def test_a_file_among_the_segments(captures: Path) -> None:
    """An output that might be evidence is refused."""
    (raw,) = captures.glob("v0/*/*_0000000001.pcapng")
    before = raw.read_bytes()
    done = run(captures, "-o", str(raw))
    assert done.returncode == 2
    assert raw.read_bytes() == before


def test_others_are_refused(captures: Path) -> None:
    """Who is neither root nor of the directory's group gets nothing, even of readable files."""
    argv = [
        *(*AS_NOBODY, str(CAPD), "extract"),
        *("--config", str(captures.parent / "capd.toml"), "--since", "1h"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "only root and the members of the group root may have them" in done.stderr


def test_what_is_not_kept_is_said(captures: Path) -> None:
    """A range that begins before the oldest segment is not covered."""
    done = run(captures, "--since", at(START - 10**10))
    assert done.returncode == 3
    assert b"v0: nothing is kept from before 2025-07-21" in done.stderr


def test_a_reader_that_has_enough(captures: Path) -> None:
    """`| head` ends it quietly."""
    argv = f"{CAPD} extract --config {captures.parent}/capd.toml --since @0 | head -c 100 | wc -c"
    done = subprocess.run(["bash", "-c", argv], capture_output=True, text=True, check=True)
    assert done.stdout == "100\n"
    assert "Traceback" not in done.stderr
